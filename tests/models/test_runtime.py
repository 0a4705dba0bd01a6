import ctypes

import pytest
import torch

from zoo.models import runtime
from zoo.models.precision import Precision


class Spy:
    """Replaces the C library."""

    def __init__(self):
        self.calls = []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))

    def malloc_trim(self, pad):
        self.calls.append("trim")


@pytest.fixture
def libc(monkeypatch):
    spy = Spy()
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: spy)
    for name in ("GLIBC_TUNABLES", *(name for name in runtime.os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)
    return spy


def on(device, name="fp32"):
    return Precision(name=name, device=torch.device(device), reason="a test")


def test_freed_memory_is_kept_in_training_and_returned_afterwards(libc):
    with runtime.tuned_runtime(on("cpu")):
        assert libc.calls == [(-4, 0), (-1, 2**31 - 1)]
    assert libc.calls[2:] == [(-4, 65536), (-1, 131072), "trim"]


def test_memory_is_returned_after_an_error_too(libc):
    with pytest.raises(ValueError, match="no"), runtime.tuned_runtime(on("cpu")):
        raise ValueError("no")
    assert libc.calls[-1] == "trim"


@pytest.mark.parametrize("variable", ["MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_the_allocator_settings_of_the_environment_take_precedence(libc, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with runtime.tuned_runtime(on("cpu")):
        assert libc.calls == []


def test_memory_that_garbage_held_is_returned(libc, monkeypatch):
    monkeypatch.setattr(runtime.gc, "collect", lambda: libc.calls.append("collect"))
    runtime.release_memory()
    assert libc.calls == ["collect", "trim"]


def test_other_c_libraries_are_not_configured(libc, monkeypatch):
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("", ""))
    with runtime.tuned_runtime(on("cpu")):
        assert libc.calls == []


@pytest.mark.parametrize(
    ("name", "matmul", "convolution"), [("tf32", "high", True), ("fp32", "highest", False), ("bf16", "highest", False)]
)
def test_tf32_on_cuda_follows_the_precision_and_is_restored(name, matmul, convolution):
    def settings():
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
        )

    before = settings()
    with runtime.tuned_runtime(on("cuda", name)):  # only flags: this needs no GPU
        assert settings() == (matmul, convolution, True)
    assert settings() == before


def test_deterministic_mode_disables_the_benchmark():
    torch.use_deterministic_algorithms(True)
    try:
        with runtime.tuned_runtime(on("cuda")):
            assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_times_of_all_threads_are_summed(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_TASKS", tmp_path)
    assert runtime.read_thread_times() is None
    for task, content in (("1", "300 20 7"), ("2", "500 4 9")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(content)
    assert runtime.read_thread_times() == (800, 24)
    (tmp_path / "2" / "schedstat").write_text("none")
    assert runtime.read_thread_times() is None
