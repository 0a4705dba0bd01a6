"""What a machine or a container has to give."""

import ctypes
import os
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
def test_processors_are_those_of_the_container(cgroup, monkeypatch, limit, bound, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    if limit is not None:
        (cgroup / "cpu.max").write_text(limit)
    assert machine.usable_cpus() == cpus


def test_where_no_affinity_is_told_the_processors_count(cgroup, monkeypatch):
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
def test_memory_is_what_is_available(cgroup, monkeypatch, tmp_path, meminfo, limit, memory):
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    if limit is not None:
        (cgroup / "memory.max").write_text(limit)
    assert machine.available_memory() == memory


@pytest.mark.parametrize(
    ("init", "count", "told"),
    [
        ((0, 2), 2, 2),
        ((100, 0), 0, 0),
        ((0, 0), 0, 0),
        ((803, 0), 0, "the NVIDIA driver cannot be started (CUDA error 803)"),
    ],
)
def test_the_driver_is_asked(monkeypatch, init, count, told):
    def device_count(address):
        address._obj.value = count
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: init[0], cuDeviceGetCount=device_count)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, **_: driver)
    assert machine.nvidia_gpus() == told


def test_without_a_driver_its_file_is_named(monkeypatch):
    def missing(name, **_):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert machine.nvidia_gpus() in (f"there is no NVIDIA driver ({name})" for name in ("libcuda.so.1", "nvcuda.dll"))
