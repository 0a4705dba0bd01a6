"""Obstacles to CUDA are found in the order in which a user has to remove them."""

import ctypes
import importlib.metadata

import onnxruntime
import pytest

from zoo_export.runtime import providers

GPU, CPU_ONLY = [providers.CUDA, providers.CPU], [providers.CPU]


@pytest.fixture
def machine(monkeypatch):
    """A machine on which CUDA works; returns a function that changes it."""
    providers.cuda_obstacle.cache_clear()

    def change(*, devices=1, available=GPU, output="", missing="", packages=None):
        monkeypatch.setattr(providers, "nvidia_gpus", lambda: devices)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
        monkeypatch.setattr(providers, "preload_libraries", lambda: output)
        monkeypatch.setattr(providers, "missing_library", lambda: missing)
        installed = {"onnxruntime-gpu": onnxruntime.__version__} if packages is None else packages

        def version(package):
            if package not in installed:
                raise importlib.metadata.PackageNotFoundError(package)
            return installed[package]

        monkeypatch.setattr(importlib.metadata, "version", version)

    change()
    yield change
    providers.cuda_obstacle.cache_clear()


def test_working_machine_has_no_obstacle(machine):
    assert providers.cuda_obstacle() is None
    assert providers.package_conflict() is None


@pytest.mark.parametrize(
    ("changes", "reason", "advice"),
    [
        ({"devices": "there is no NVIDIA driver (libcuda.so.1)"}, "there is no NVIDIA driver", "nvidia-smi"),
        ({"devices": 0}, "the NVIDIA driver sees no GPU", "CUDA_VISIBLE_DEVICES"),
        (
            {"available": CPU_ONLY, "packages": {"onnxruntime": "1.31.1"}},
            "this ONNX Runtime is built without CUDA (onnxruntime 1.31.1)",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        ),
        (
            {"missing": "libcurand.so.10: cannot open shared object file", "output": "Failed to load libcurand.so.10"},
            "its CUDA libraries cannot be loaded: libcurand.so.10: cannot open shared object file. Failed to load",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        ),
    ],
)
def test_first_obstacle_is_reported_with_advice(machine, changes, reason, advice):
    machine(**changes)
    obstacle = providers.cuda_obstacle()
    assert obstacle.reason.startswith(reason)
    assert advice in obstacle.advice
    assert obstacle.expected == isinstance(changes.get("devices"), str)


@pytest.mark.parametrize(
    ("packages", "available", "reason"),
    [
        (
            {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.31.1"},
            GPU,
            "onnxruntime-gpu 1.31.1 and onnxruntime 1.30.0 are",
        ),
        ({"onnxruntime-gpu": "1.30.0"}, GPU, "onnxruntime-gpu 1.30.0 is installed, but its files belong to version"),
        (
            {"onnxruntime-gpu": onnxruntime.__version__},
            CPU_ONLY,
            "onnxruntime-gpu is installed, but its files belong to a CPU build",
        ),
    ],
)
def test_packages_that_overwrite_each_other_are_reported(machine, packages, available, reason):
    machine(packages=packages, available=available)
    conflict = providers.package_conflict()
    assert conflict.reason.startswith(reason)
    assert conflict.advice.startswith("Run: pip uninstall -y onnxruntime onnxruntime-gpu")


@pytest.mark.parametrize("packages", [{}, {"onnxruntime": onnxruntime.__version__}, {"onnxruntime": "0+local"}])
def test_local_build_and_plain_package_are_no_conflict(machine, packages, monkeypatch):
    if "0+local" in packages.values():
        monkeypatch.setattr(onnxruntime, "__version__", "0")
    machine(packages=packages, available=CPU_ONLY)
    assert providers.package_conflict() is None


def test_missing_library_is_named(monkeypatch):
    def fail(name, **_):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert "onnxruntime_providers_shared" in providers.missing_library()


def test_output_of_onnxruntime_is_captured(monkeypatch, capfd):
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load\n  libx.so"))
    assert providers.preload_libraries() == "Failed to load libx.so"
    assert capfd.readouterr() == ("", "")
