"""Makes the zoo of this checkout usable without installing it: its folders, and what its plugins are found by."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FOLDERS = ("", "plugins", "export", "demo")
_NEEDS = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "PIL",
    "safetensors",
    "matplotlib",
    "pluggy",
    "click",
    "rich",
)


def enter() -> None:
    """Puts the checkout first on this process's import path; leaves the program where something it needs is missing."""
    require(*_NEEDS)
    sys.path[:0] = [folder for folder in _folders() if folder not in sys.path]


def environment(**more: str) -> dict[str, str]:
    """Returns the environment in which ``python -m zoo`` runs the zoo of this checkout.

    Bytecode is kept from run to run even where the environment says otherwise: that is how programs are used.

    Args:
        **more: Further variables.
    """
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([*_folders(), *inherited]),
        "ZOO_HOME": str(Path(_metadata()) / "home"),
        **more,
    }


def require(*modules: str) -> None:
    """Leaves the program with a message where a module is missing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(
            f"{Path(sys.argv[0]).name}: {sys.executable} lacks {', '.join(missing)}.\n"
            "Where nothing can be downloaded, carry wheels along: 'pip download -d wheels PACKAGE' elsewhere, then\n"
            "'pip install --no-index --target site wheels/*.whl' and PYTHONPATH=site before the command here."
        )


def _folders() -> list[str]:
    return [*(str(ROOT / folder) for folder in _FOLDERS if (ROOT / folder).is_dir()), _metadata()]


@functools.cache
def _metadata() -> str:
    """Writes what an installation would: the name, the version and the entry points, and returns the folder above."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    above = tempfile.mkdtemp(prefix="zoo-bench-")
    atexit.register(shutil.rmtree, above, ignore_errors=True)
    name, version = project["name"], project["version"]
    folder = Path(above) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    entries = "".join(f"{key} = {value}\n" for key, value in project["entry-points"]["zoo"].items())
    (folder / "entry_points.txt").write_text(f"[zoo]\n{entries}", "utf-8")
    return above
