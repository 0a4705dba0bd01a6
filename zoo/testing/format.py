"""The contract of a file format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import FormatRequest
from zoo.testing.contract import Contract

if TYPE_CHECKING:
    from zoo.plugins.specs import FormatSpec

_BROKEN_FILES = {
    "an empty file": b"",
    "a file of zeros": bytes(64),
    "a text file": b"not a model\n",
    "a file of random bytes": bytes(range(256)) * 4,
}


@restore_random_states()
def check_format(spec: FormatSpec) -> None:
    """Checks that a format raises a `ZooError` for broken and missing files.

    Args:
        spec: The format, as returned by the hook ``zoo_formats``.

    Raises:
        AssertionError: The format violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"format {spec.name}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in spec.suffixes:
            path = Path(folder) / f"model{suffix}"
            for description, content in _BROKEN_FILES.items():
                path.write_bytes(content)
                _check_refusal(contract, spec, path, description)
            path.unlink()
            _check_refusal(contract, spec, path, "a missing file")


def _check_refusal(contract: Contract, spec: FormatSpec, path: Path, description: str) -> None:
    try:
        resolve_callable(spec.load)(FormatRequest(path=path, device="cpu"))
    except ZooError:
        return
    except Exception as error:
        raise AssertionError(
            f"{contract.name}: load() must raise a ZooError for {description}, not {type(error).__name__}: {error}"
        ) from error
    contract.require(False, f"load() must raise a ZooError for {description}")
