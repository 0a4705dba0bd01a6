"""Converters of other packages: silent, and with `ExportError` as their only exception."""

import logging
import warnings

import pytest

from zoo.errors import ExportError
from zoo_export.graph.converters import conversion, silence


def make_noise():
    print("a print")
    warnings.warn("a warning", stacklevel=1)
    logging.getLogger("converter").critical("a record")


def test_silence_hides_prints_warnings_and_log_records(capfd, caplog):
    with silence():
        make_noise()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    logging.getLogger("converter").critical("after")
    assert [record.message for record in caplog.records] == ["after"]


def test_exception_becomes_an_export_error_with_its_first_line(capfd):
    def convert():
        with conversion("The network cannot be converted", hint="Keep fp32."):
            make_noise()
            raise ZeroDivisionError("no scale.\nand a long trace")

    with pytest.raises(ExportError) as caught:
        convert()
    assert caught.value.message == "The network cannot be converted: ZeroDivisionError: no scale."
    assert caught.value.hint == "Keep fp32."
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert capfd.readouterr() == ("", "")
