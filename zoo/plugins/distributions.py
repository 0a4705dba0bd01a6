"""The two distributions of the zoo, and what to install if only the smaller one is there.

`finetune-zoo-runtime` contains the packages zoo, zoo_export, zoo_datasets, zoo_metrics, zoo_recipes and zoo_hub, and
requires what exported files need. Training and exporting need torch, which only `finetune-zoo` requires.
"""

from __future__ import annotations

import importlib.util

from zoo.errors import MissingPackageError
from zoo.plugins.entry_points import DISTRIBUTION
from zoo.utils.installer import install_command


def is_complete() -> bool:
    """Returns whether `finetune-zoo` is installed, and not only `finetune-zoo-runtime`."""
    import importlib.metadata  # imported here, because its import is slow and only errors need it

    try:
        importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def complete_command() -> str:
    """Returns the command that installs `finetune-zoo` where only `finetune-zoo-runtime` is."""
    return install_command(DISTRIBUTION)


def missing_package(message: str) -> MissingPackageError:
    """Returns the error for a package that `finetune-zoo` installs.

    Args:
        message: What needs it.
    """
    return MissingPackageError(message, hint=f"Install it with the rest of the zoo: {complete_command()}")


def require_torch(task: str) -> None:
    """Raises an error if torch is not installed; does not import it.

    Args:
        task: What needs it, as a subject: ``"Fine-tuning"``.

    Raises:
        MissingPackageError: It is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing_package(f"{task} needs torch, which is not installed.")


def explain_missing_module(error: ModuleNotFoundError, task: str) -> MissingPackageError | None:
    """Returns the error for a failed import that installing `finetune-zoo` mends, or None if it is installed.

    Args:
        error: The failed import.
        task: What needs the module, as a subject: ``"'zoo show'"``.
    """
    if is_complete():
        return None
    return missing_package(f"{task} needs {(error.name or 'a package').partition('.')[0]}, which is not installed.")
