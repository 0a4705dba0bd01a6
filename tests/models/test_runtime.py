import ctypes

import pytest
import torch

from zoo.models import runtime as machine
from zoo.models.precision import Precision


class Spy:
    """Stands for the C library."""

    def __init__(self):
        self.calls = []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))

    def malloc_trim(self, pad):
        self.calls.append("trim")


@pytest.fixture
def libc(monkeypatch):
    spy = Spy()
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: spy)
    for name in ("GLIBC_TUNABLES", *(name for name in machine.os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)
    return spy


def on(device, name="fp32"):
    return Precision(name=name, device=torch.device(device), reason="a test")


def test_freed_memory_is_kept_while_training_and_given_back_afterwards(libc):
    with machine.tuned_for(on("cpu")):
        assert libc.calls == [(-4, 0), (-1, 2**31 - 1)]
    assert libc.calls[2:] == [(-4, 65536), (-1, 131072), "trim"]


def test_it_is_given_back_after_an_error_too(libc):
    with pytest.raises(ValueError, match="no"), machine.tuned_for(on("cpu")):
        raise ValueError("no")
    assert libc.calls[-1] == "trim"


@pytest.mark.parametrize("variable", ["MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_of_the_allocator_stands(libc, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with machine.tuned_for(on("cpu")):
        assert libc.calls == []


def test_other_c_libraries_are_left_alone(libc, monkeypatch):
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("", ""))
    with machine.tuned_for(on("cpu")):
        assert libc.calls == []


@pytest.mark.parametrize(
    ("name", "matmul", "convolution"), [("tf32", "high", True), ("fp32", "highest", False), ("bf16", "highest", False)]
)
def test_on_cuda_float32_is_rounded_as_the_precision_says_and_put_back(name, matmul, convolution):
    def settings():
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
        )

    before = settings()
    with machine.tuned_for(on("cuda", name)):  # flags alone: no GPU is asked for anything
        assert settings() == (matmul, convolution, True)
    assert settings() == before


def test_where_results_must_repeat_no_algorithm_is_chosen_by_the_clock():
    torch.use_deterministic_algorithms(True)
    try:
        with machine.tuned_for(on("cuda")):
            assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


def test_what_threads_ran_and_waited_is_summed(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_TASKS", tmp_path)
    assert machine.processor_times() is None
    for task, content in (("1", "300 20 7"), ("2", "500 4 9")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(content)
    assert machine.processor_times() == (800, 24)
    (tmp_path / "2" / "schedstat").write_text("none")
    assert machine.processor_times() is None
