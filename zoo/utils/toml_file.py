"""TOML files that people write: values, and the line of each for messages."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError
from zoo.utils.files import read_regular_file
from zoo.utils.paths import missing_path_advice, parse_path
from zoo.utils.text import first_line

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SUFFIX = ".toml"
_MAX_BYTES = 1 << 20
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# PowerShell's redirection writes UTF-16, editors on Windows a byte order mark.
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The content of a TOML file.

    Attributes:
        path: The file, as the user wrote it.
        text: Its text.
        values: Its values: nested dicts, lists, texts, numbers, truth values, dates.
    """

    path: Path
    text: str
    values: dict[str, Any]

    def locate(self, *keys: str) -> str:
        """Returns where a key is, for messages: ``"mine.toml, line 3"``.

        Args:
            *keys: The names of the tables that contain it, from the outermost, and the key.
        """
        line = _find_line(self.text, keys)
        return f"{self.path}, line {line}" if line else str(self.path)


def read_toml(path: str | os.PathLike[str]) -> TomlFile:
    """Reads a TOML file.

    Raises:
        ConfigError: There is no such file, or it is too large, not text or not TOML; the message names the line.
    """
    file = parse_path(path)
    try:
        content = read_regular_file(file, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"There is no file {file}.", hint=missing_path_advice(path)) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}.") from error
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}, line {line}: it is not UTF-8 text.", hint="Save the file as UTF-8.") from None
    try:
        return TomlFile(file, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, text, str(error)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a date or a number beyond reason
        raise ConfigError(f"{file} is not valid TOML: {first_line(error)}.") from None


def to_toml(values: Mapping[str, Any]) -> str:
    """Returns plain values as the text of a TOML file; those that are mappings become tables, at the end.

    TOML has no null: None becomes the text ``"none"``, as options are written on the command line.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{_to_key(name)} = {_to_value(value)}\n" for name, value in plain.items()]
    for name, table in tables.items():
        lines.append(f"\n[{_to_key(name)}]\n")
        lines += [f"{_to_key(key)} = {_to_value(value)}\n" for key, value in table.items()]
    return "".join(lines)


def _to_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _to_value(name)


def _to_value(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_to_value, value))}]"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)  # TOML has all escapes of JSON, except surrogate pairs
        return "".join(c if " " <= c <= "~" else f"\\U{ord(c):08x}" for c in text)
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def _find_line(text: str, keys: Sequence[str]) -> int:
    """Returns the number of the line on which a key begins, counted from 1; 0 if it is not there.

    tomllib gives no lines. A key is in the first part of the file that is valid and contains it, behind the longest
    valid part that does not.
    """
    lines, before = text.replace("\r\n", "\n").split("\n"), 0
    for number in range(1, len(lines) + 1):
        try:
            values = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        if _contains(values, keys):
            return before + 1
        before = number
    return 0


def _contains(values: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _syntax_error(file: Path, text: str, message: str) -> ConfigError:
    match = _PLACE.fullmatch(message)
    reason, line = (match[1], match[2] or str(text.count("\n") + 1)) if match else (message, "")
    place = f"{file}, line {line}" if line else str(file)
    written = text.split("\n")[int(line) - 1].strip() if line else ""
    hint = 'Texts need quotes in TOML: name = "text".' if re.fullmatch(r"[^=]+=\s*[A-Za-z].*", written) else ""
    return ConfigError(f"{place}: {reason}.", hint=hint)
