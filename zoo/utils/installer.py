"""How packages are added to the environment that this program runs in."""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

# The distribution with the command comes first, https://docs.astral.sh/uv/concepts/tools/.
_TOOL, _REST = "finetune-zoo-runtime", ["finetune-zoo"]


def install_command(requirement: str) -> str:
    """Returns the command that installs a package beside the zoo: with pip, or for a tool of uv or pipx.

    Args:
        requirement: ``"timm"``, ``"acme-nets[large]>=2"``.
    """
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        # uv keeps none of the earlier packages: those of its receipt have to be named again.
        tool, packages = _read_receipt(prefix / "uv-receipt.toml")
        options = [word for each in dict.fromkeys((*packages, requirement)) for word in ("--with", each)]
        return shlex.join(["uv", "tool", "install", *options, tool])
    if (prefix / "pipx_metadata.json").is_file():
        return shlex.join(["pipx", "inject", prefix.name, requirement])
    return shlex.join(["pip", "install", requirement])


def pip_command(*arguments: str) -> str:
    """Returns the command that does to the environment of this program what ``pip`` with some arguments would do.

    For repairs: what uv and pipx record of a tool is not changed.
    """
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return shlex.join(["uv", "pip", *arguments, "--python", str(prefix)])
    if (prefix / "pipx_metadata.json").is_file():
        return shlex.join(["pipx", "runpip", prefix.name, *arguments])
    return shlex.join(["pip", *arguments])


def _read_receipt(receipt: Path) -> tuple[str, list[str]]:
    """Returns what uv installed as the tool, and what beside it: names with versions, or paths."""
    try:
        requirements = tomllib.loads(receipt.read_text("utf-8"))["tool"]["requirements"]
        tool, *others = [_format(each) for each in requirements]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):  # of another version of uv
        return _TOOL, _REST
    return tool, others


def _format(requirement: dict[str, object]) -> str:
    for key in ("directory", "editable", "path", "url"):
        if isinstance(place := requirement.get(key), str):
            return place
    extras = requirement.get("extras")
    names = f"[{','.join(map(str, extras))}]" if isinstance(extras, list) and extras else ""
    return f"{requirement['name']}{names}{requirement.get('specifier', '')}"
