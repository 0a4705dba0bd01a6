from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
from plugin_helpers import raising

import zoo
from zoo.errors import ExportError
from zoo.testing import check_format

if TYPE_CHECKING:
    from collections.abc import Callable


def format_spec(load: Callable[[zoo.FormatRequest], Any]) -> zoo.FormatSpec:
    return zoo.FormatSpec(name="net", suffixes=(".net", ".n.onnx"), load=load)


def test_a_format_that_refuses_broken_and_missing_files_passes() -> None:
    tried: list[tuple[str, bool]] = []

    def load(request: zoo.FormatRequest) -> Any:
        assert request.device == "cpu"
        tried.append((request.path.name, request.path.exists()))
        raise ExportError(f"{request.path} is broken.")

    check_format(format_spec(load))
    # Four broken files and a pickle, no file, and a folder.
    exists = [True] * 5 + [False, True]
    assert tried == [(name, each) for name in ("model.net", "model.n.onnx") for each in exists]


def test_a_format_that_opens_a_broken_file_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"^format net: load\(\) must raise a ZooError for an empty file$"):
        check_format(format_spec(lambda request: None))


def test_a_format_that_opens_a_missing_file_is_refused() -> None:
    def load(request: zoo.FormatRequest) -> None:
        if request.path.exists():
            raise ExportError("It is broken.")

    with pytest.raises(AssertionError, match="must raise a ZooError for a missing file"):
        check_format(format_spec(load))


def test_another_exception_is_refused() -> None:
    message = "load() must raise a ZooError for an empty file, not ZeroDivisionError: no"
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_format(format_spec(raising(ZeroDivisionError("no"))))


@pytest.mark.parametrize("refuses", [True, False])
def test_a_format_that_loads_pickles_is_refused(refuses: bool) -> None:
    def load(request: zoo.FormatRequest) -> Any:
        try:
            network = pickle.loads(request.path.read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
            raise ExportError(f"{request.path} is broken.") from error
        if refuses:
            raise ExportError(f"{request.path} has no network.")
        return network

    with pytest.raises(AssertionError, match="must not unpickle a file: that runs the code it contains"):
        check_format(format_spec(load))


def test_a_format_that_cannot_tell_a_folder_from_a_file_is_refused() -> None:
    def load(request: zoo.FormatRequest) -> None:
        if request.path.is_dir():
            raise IsADirectoryError(str(request.path))
        raise ExportError("It is broken.")

    with pytest.raises(AssertionError, match="must raise a ZooError for a folder, not IsADirectoryError"):
        check_format(format_spec(load))
