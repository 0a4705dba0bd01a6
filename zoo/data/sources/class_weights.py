"""Weights of classes in a CSV file, one line for each class: ``class,weight``."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, did_you_mean
from zoo.utils.csv_rows import unquote_formula
from zoo.utils.files import read_regular_file
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEADER = ["class", "weight"]
_HINT = "Each line is the name of a class, a comma and its weight: cat,2.5"
_LISTED = 5  # missing classes in a message


def read_class_weights(path: Path, classes: Sequence[str], *, neutral: str) -> tuple[float, ...]:
    """Returns the weight of each class, in the order of `classes`. A first line ``class,weight`` is a header.

    Args:
        path: The file.
        classes: Class names.
        neutral: A sentence without its full stop on what a weight of 1 means, for the hint where a class is missing.

    Raises:
        ConfigError: The file cannot be read, a line is wrong, or a class is missing; the message names the line.
    """
    found: dict[str, float] = {}
    for number, row in _read_rows(path):
        where = f"{path}, line {number}"
        if len(row) != len(_HEADER):
            raise ConfigError(f"{where}: there are {len(row)} values, not a class and its weight.", hint=_HINT)
        name, text = unquote_formula(row[0]), row[1].strip()
        if name not in classes:
            near = did_you_mean(name, classes)
            listed = ", ".join(classes[:_LISTED]) + (", ..." if len(classes) > _LISTED else "")
            raise ConfigError(
                f"{where}: the data has no class '{name}'.", hint=f"{near} Its classes: {listed}.".strip()
            )
        if name in found:
            raise ConfigError(f"{where}: the class '{name}' has a weight already.", hint="Leave one of the lines out.")
        found[name] = _parse_weight(text, where)
    if missing := [name for name in classes if name not in found]:
        listed = ", ".join(f"'{name}'" for name in missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        raise ConfigError(
            f"{path} has no weight for {len(missing)} of {len(classes)} classes: {listed}.",
            hint=f"Every class needs one. {neutral}.",
        )
    return tuple(found[name] for name in classes)


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Returns the rows that are not empty, without the header, each with the number of the line on which it ends."""
    try:
        text = read_regular_file(path).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""))
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"The class weights {path} cannot be read ({reason}).", hint=missing_path_advice(path) or _HINT
        ) from None
    is_header = bool(rows) and [cell.strip().lower() for cell in rows[0][1]] == _HEADER
    return rows[1:] if is_header else rows


def _parse_weight(text: str, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        raise ConfigError(f"{where}: the weight '{text:.40}' is not a number.", hint=_HINT) from None
    if not math.isfinite(weight) or weight <= 0:
        hint = "To train without a class, leave its photos out of the data." if weight <= 0 else _HINT
        raise ConfigError(f"{where}: the weight is {text}; it must be a finite number above 0.", hint=hint)
    return weight
