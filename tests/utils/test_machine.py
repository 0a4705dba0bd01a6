import ctypes
import os
import sys
from types import SimpleNamespace

import pytest

from zoo.utils import machine


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "bound", "cpus"),
    [
        ("max 100000", 8, 8),
        ("200000 100000", 8, 2),
        ("150000 100000", 8, 2),
        ("50000 100000", 8, 1),
        ("900000 100000", 8, 8),
        ("odd", 8, 8),
        (None, 3, 3),
    ],
)
def test_usable_cpus_respects_affinity_and_quota(cgroup, monkeypatch, limit, bound, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    if limit is not None:
        (cgroup / "cpu.max").write_text(limit)
    assert machine.usable_cpus() == cpus


def test_usable_cpus_counts_all_processors_without_affinity(cgroup, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.usable_cpus() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cpus() == 1


@pytest.mark.parametrize(
    ("meminfo", "limit", "memory"),
    [
        ("MemFree: 1 kB\nMemAvailable:   2048 kB\n", None, 2 << 20),
        ("MemAvailable: 2048 kB\n", "1048576", 1 << 20),
        ("MemAvailable: 2048 kB\n", "max", 2 << 20),
        ("nothing", None, None),
        (None, None, None),
    ],
)
def test_available_memory_respects_the_limit_of_the_container(cgroup, monkeypatch, tmp_path, meminfo, limit, memory):
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    if limit is not None:
        (cgroup / "memory.max").write_text(limit)
    assert machine.available_memory() == memory


@pytest.mark.parametrize(
    ("init", "count", "expected"),
    [
        ((0, 2), 2, 2),
        ((100, 0), 0, 0),
        ((0, 0), 0, 0),
        ((803, 0), 0, "the NVIDIA driver cannot be started (CUDA error 803)"),
    ],
)
def test_nvidia_gpus_calls_the_driver(monkeypatch, init, count, expected):
    def device_count(address):
        address._obj.value = count
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: init[0], cuDeviceGetCount=device_count)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, **_: driver)
    assert machine.nvidia_gpus() == expected


def test_nvidia_gpus_names_the_missing_driver(monkeypatch):
    def missing(name, **_):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert machine.nvidia_gpus() in (f"there is no NVIDIA driver ({name})" for name in ("libcuda.so.1", "nvcuda.dll"))


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
def test_the_peak_of_memory_is_that_since_the_start():
    meter = machine.PeakMemory()
    block = bytearray(300 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])  # touches every page
    del block
    assert 250 << 20 < meter.read() < 600 << 20


def test_the_peak_of_memory_is_unknown_where_the_system_does_not_report_it(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_PROCESS", tmp_path / "missing")
    assert machine.PeakMemory().read() == 0
