"""The contract of a file format."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import FormatRequest
from zoo.testing.contract import Contract

if TYPE_CHECKING:
    from zoo.plugins.specs import FormatSpec


class _Payload:
    """An object whose pickle creates a file when it is loaded, as that of a stranger might do anything."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


_BROKEN_FILES = {
    "an empty file": b"",
    "a file of zeros": bytes(64),
    "a text file": b"not a model\n",
    "a file of random bytes": bytes(range(256)) * 4,
}


@restore_random_states()
def check_format(spec: FormatSpec) -> None:
    """Checks that a format raises a `ZooError` for broken and missing files, and runs no code that a file contains.

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
            _check_pickle(contract, spec, path)
            path.unlink()
            _check_refusal(contract, spec, path, "a missing file")
            path.mkdir()
            _check_refusal(contract, spec, path, "a folder")
            path.rmdir()


def _check_pickle(contract: Contract, spec: FormatSpec, path: Path) -> None:
    ran = path.with_name("ran")
    path.write_bytes(pickle.dumps(_Payload(ran)))
    try:
        _check_refusal(contract, spec, path, "a pickle")
    finally:  # instead of the error that came of it
        contract.require(not ran.exists(), "load() must not unpickle a file: that runs the code it contains")


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
