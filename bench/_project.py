"""Makes this checkout usable without installing it: import paths, and metadata through which plugins are found."""

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


def use_checkout() -> None:
    """Puts the checkout first on this process's import path; exits if a required module is missing."""
    require(*_NEEDS)
    sys.path[:0] = [folder for folder in _folders() if folder not in sys.path]


def checkout_environment(**more: str) -> dict[str, str]:
    """Returns environment variables with which ``python -m zoo`` runs this checkout.

    Bytecode is cached even if the environment forbids it, because that is how users run programs.

    Args:
        **more: Further variables.
    """
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join([*_folders(), *inherited]),
        "ZOO_HOME": str(Path(_metadata()) / "home"),
        **more,
    }


def require(*modules: str) -> None:
    """Exits with a message if a module is missing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(
            f"{Path(sys.argv[0]).name}: {sys.executable} lacks {', '.join(missing)}.\n"
            "Without a network: run 'pip download -d wheels PACKAGE' elsewhere, copy the folder here, run\n"
            "'pip install --no-index --target site wheels/*.whl', and set PYTHONPATH=site."
        )


def _folders() -> list[str]:
    return [*(str(ROOT / folder) for folder in _FOLDERS if (ROOT / folder).is_dir()), _metadata()]


@functools.cache
def _metadata() -> str:
    """Writes the metadata of an installation (name, version, entry points) and returns its parent folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    parent = tempfile.mkdtemp(prefix="zoo-bench-")
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    name, version = project["name"], project["version"]
    folder = Path(parent) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    entries = "".join(f"{key} = {value}\n" for key, value in project["entry-points"]["zoo"].items())
    (folder / "entry_points.txt").write_text(f"[zoo]\n{entries}", "utf-8")
    return parent
