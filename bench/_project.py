"""Makes this checkout usable without installing it: import paths, and metadata through which plugins are found."""

from __future__ import annotations

import atexit
import compileall
import functools
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    "platformdirs",
    "matplotlib",
    "pluggy",
    "click",
    "rich",
)


def use_checkout() -> None:
    """Puts the checkout first on this process's import path; exits if a required module is missing."""
    require(*_NEEDS)
    sys.path[:0] = [folder for folder in _folders(ROOT) if folder not in sys.path]


def checkout_environment(root: Path = ROOT, **more: str) -> dict[str, str]:
    """Returns environment variables with which ``python -m zoo`` runs a checkout.

    Bytecode is cached even if the environment forbids it, because that is how users run programs.

    Args:
        root: The checkout.
        **more: Further variables.
    """
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join([*_folders(root), *inherited]),
        "ZOO_HOME": str(Path(_metadata(root)) / "home"),
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


def copy_checkout(root: Path, into: Path) -> Path:
    """Copies what ``python -m zoo`` needs of a checkout, so that edits do not change a comparison; returns `into`.

    The bytecode is compiled, so that the first run takes no longer than the next.
    """
    into.mkdir(parents=True)
    shutil.copy(root / "pyproject.toml", into)
    for name in ("zoo", *_FOLDERS[1:]):
        if (root / name).is_dir():
            shutil.copytree(root / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(into, quiet=2)
    return into


def hash_code(folders: Iterable[Path]) -> str:
    """Returns a hash of all Python files in folders."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def _folders(root: Path) -> list[str]:
    return [*(str(root / folder) for folder in _FOLDERS if (root / folder).is_dir()), _metadata(root)]


@functools.cache
def _metadata(root: Path) -> str:
    """Writes the metadata of an installation (name, version, entry points) and returns its parent folder."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    parent = tempfile.mkdtemp(prefix="zoo-bench-")
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    name, version = project["name"], project["version"]
    folder = Path(parent) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    entries = "".join(f"{key} = {value}\n" for key, value in project["entry-points"]["zoo"].items())
    (folder / "entry_points.txt").write_text(f"[zoo]\n{entries}", "utf-8")
    return parent
