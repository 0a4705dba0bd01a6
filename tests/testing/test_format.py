from __future__ import annotations

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
    names = (
        [("model.net", True)] * 4 + [("model.net", False)] + [("model.n.onnx", True)] * 4 + [("model.n.onnx", False)]
    )
    assert tried == names


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
