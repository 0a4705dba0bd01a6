import gc
import logging
import os
import signal
import socket
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from rich.console import Console
from rich.file_proxy import FileProxy

from zoo.plugins.process_state import read_settings, restore_settings


def change_environment():
    os.environ["ZOO_TEST_SETTING"] = "after"


def replace_stream():
    sys.stdout = sys.stderr


CHANGES = {
    "the working directory": (lambda: os.chdir("/"), os.getcwd),
    "environment variables": (change_environment, lambda: os.environ["ZOO_TEST_SETTING"]),
    "the standard streams": (replace_stream, lambda: sys.stdout),
    "the recursion limit": (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "the signal handlers": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "the root logger": (lambda: logging.disable(logging.ERROR), lambda: logging.root.manager.disable),
    "the warning filters": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "the timeout of sockets": (lambda: socket.setdefaulttimeout(3), socket.getdefaulttimeout),
    "the garbage collection": (gc.disable, gc.isenabled),
    "numpy's handling of errors": (lambda: np.seterr(all="raise"), np.geterr),
    "Pillow's handling of truncated files": (
        lambda: setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
        lambda: ImageFile.LOAD_TRUNCATED_IMAGES,
    ),
    "Pillow's limit of pixels": (
        lambda: setattr(Image, "MAX_IMAGE_PIXELS", None),
        lambda: Image.MAX_IMAGE_PIXELS,
    ),
    "torch's default type": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "torch's default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "torch's recording of gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "torch's number of threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "torch's precision of float32 products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "torch's choice of deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "torch's detection of anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_changed_is_named_and_set_back(name, monkeypatch):
    monkeypatch.setenv("ZOO_TEST_SETTING", "before")
    change, read = CHANGES[name]
    settings, before = read_settings(), read()
    change()
    assert read() != before
    assert restore_settings(settings) == [name]
    assert read() == before
    assert restore_settings(settings) == []


def test_every_setting_is_tested():
    assert set(CHANGES) == set(read_settings())


def test_the_handlers_of_the_root_logger_are_set_back():
    settings, before = read_settings(), list(logging.root.handlers)
    logging.root.addHandler(logging.NullHandler())
    logging.root.setLevel(logging.DEBUG)
    assert restore_settings(settings) == ["the root logger"]
    assert (logging.root.handlers, logging.root.level) == (before, logging.WARNING)


def test_what_libraries_do_when_they_are_imported_is_no_change(monkeypatch):
    settings = read_settings()
    monkeypatch.setenv("ZOO_TEST_NEW", "1")
    warnings.filterwarnings("ignore", message="mine", module="mine")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="mine")
    try:
        assert restore_settings(settings) == []
        assert os.environ["ZOO_TEST_NEW"] == "1"
        assert warnings.filters[1][2] is Warning
    finally:
        del warnings.filters[:2]


def test_a_library_that_was_not_imported_before_has_its_defaults():
    settings = {name: value for name, value in read_settings().items() if not name.startswith("torch")}
    torch.set_default_dtype(torch.float64)
    assert restore_settings(settings) == ["torch's default type"]
    assert torch.get_default_dtype() == torch.float32


def test_a_progress_display_is_no_change_of_the_streams(monkeypatch):
    settings = read_settings()
    monkeypatch.setattr(sys, "stdout", FileProxy(Console(), sys.stdout))
    assert restore_settings(settings) == []
