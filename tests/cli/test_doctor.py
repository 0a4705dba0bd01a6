import builtins
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import make_registry
from plugin_helpers import plugin_of, raising

from zoo.cli import doctor
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate
from zoo.plugins.registry import Registry
from zoo.plugins.specs import CheckSpec, Finding


def by_name(findings):
    return {finding.about: finding for finding in findings}


def test_this_machine_passes():
    found = by_name([*doctor.check_machine(), *doctor.check_torch()])
    assert {"Python", "processors", "torch", "precision"} <= set(found)
    assert any(name.startswith("GPU") for name in found)
    assert found["torch"].status == "ok"
    assert found["Python"].text.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


@pytest.mark.parametrize(("memory", "status"), [(1 << 30, "warning"), (8 << 30, "ok")])
def test_little_memory_is_a_warning(monkeypatch, memory, status):
    monkeypatch.setattr(doctor, "available_memory", lambda: memory)
    found = by_name(doctor.check_machine())["memory"]
    assert found.status == status
    assert found.text == f"{memory >> 30}.0 GiB available"
    monkeypatch.setattr(doctor, "available_memory", lambda: None)
    assert "memory" not in by_name(doctor.check_machine())


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "warning",
            "not installed: exported files work",
        ),
        (ModuleNotFoundError("No module named 'sympy'", name="sympy"), "problem", "cannot be imported: ModuleNotFound"),
        (OSError("libcudart.so.13: cannot open"), "problem", "cannot be imported: OSError: libcudart.so.13"),
    ],
)
def test_a_torch_that_cannot_be_imported_is_reported(monkeypatch, error, status, text):
    real = builtins.__import__

    def import_(name, *args, **kwargs):
        if name == "torch":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_)
    (finding,) = doctor.check_torch()
    assert finding.status == status
    assert finding.text.startswith(text)
    assert "torch" in finding.advice


def test_a_torch_that_computes_wrong_results_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "_find_fault", lambda device: "it computes wrong results")
    (finding,) = doctor.check_torch()
    assert (finding.status, finding.text.partition(": ")[2]) == ("problem", "it computes wrong results")


@pytest.fixture
def without_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("driver", "status", "text"),
    [
        ("there is no NVIDIA driver (libcuda.so.1)", "ok", "none that torch can use: there is no NVIDIA driver"),
        (0, "warning", "the NVIDIA driver finds none"),
        (2, "problem", "the NVIDIA driver finds 2, but torch, built for "),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_reported(monkeypatch, without_gpu, driver, status, text):
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: driver)
    (finding,) = doctor._check_gpus()
    assert finding.status == status
    assert finding.text.startswith(text)
    assert bool(finding.advice) == (status != "ok")


@pytest.mark.parametrize(
    ("free", "broken", "status"), [(20, "", "ok"), (1, "", "warning"), (20, "no kernel", "problem")]
)
def test_each_gpu_computes_and_reports_its_memory(monkeypatch, without_gpu, free, broken, status):
    import torch

    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda device: f"Card {device.index}",
        "mem_get_info": lambda device: (free << 30, 24 << 30),
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(doctor, "_find_fault", lambda device: broken)
    first, second = doctor._check_gpus()
    assert (first.about, second.about, first.status, second.status) == ("GPU 0", "GPU 1", status, status)
    assert second.text.startswith(f"Card 1: {broken}" if broken else f"Card 1, {free}.0 of 24.0 GiB free, CUDA ")


def test_a_device_that_fails_is_reported_in_one_line():
    import torch

    assert doctor._find_fault(torch.device("cpu")) == ""
    broken = doctor._find_fault(torch.device("meta"))
    assert broken.startswith("it cannot compute: ")
    assert "\n" not in broken


def test_the_cache_folder_is_tested_by_writing(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "new"))
    (finding,) = doctor.check_cache()
    assert finding.text.startswith(f"{tmp_path}/new, ")
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 30))
    (finding,) = doctor.check_cache()
    assert (finding.status, finding.text) == ("warning", f"{tmp_path}/new, 1.0 GiB free")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert doctor.check_cache()[0].text.startswith("~/new, ")


def test_a_cache_folder_that_is_not_writable_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "home"))
    (finding,) = doctor.check_cache()
    assert finding.status == "problem"
    assert "is not writable: Not a directory" in finding.text
    assert "ZOO_HOME" in finding.advice


def test_plugins_that_failed_are_problems_and_blocked_ones_are_named(plugin):
    candidates = [
        Candidate(entry=entry, distribution="acme", version="1", load=load)
        for entry, load in (("good", lambda: plugin), ("bad", lambda: 1 / 0), ("left", lambda: plugin))
    ]
    summary, failed = doctor.check_plugins(Registry(load_plugins(candidates, blocked=frozenset({"left"}))))
    assert (summary.status, summary.text) == ("ok", "1 loaded; blocked by ZOO_BLOCK_PLUGINS: acme:left")
    assert (failed.about, failed.status) == ("acme:bad", "problem")
    assert "ZOO_BLOCK_PLUGINS=acme:bad" in failed.advice


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (lambda: None, "'speed': it must return a list of zoo.Finding, at least one; it returned NoneType."),
        (lambda: ["ok"], "'speed': it must return a list of zoo.Finding, at least one; it returned list."),
        (list, "'speed': it must return a list of zoo.Finding, at least one; it returned an empty list."),
        (lambda: [Finding(about="a", status="fine", text="b")], "of a finding must be ok, warning or problem; that of"),
        (lambda: [Finding(about="a", status="ok", text=None)], "'text' of a finding must be text; it is None."),
        (lambda: [Finding(about=None, status="ok", text="b")], "'about' of a finding must be text; it is None."),
        (lambda: [Finding(about="a", status="problem", text="b")], "the problem 'a' must come with advice."),
        (lambda: time.sleep(60), "The plugin fake:fake failed while checking the set-up for 'speed': TimeoutError"),
        (raising(SystemExit(3)), "The plugin fake:fake failed while checking the set-up for 'speed': SystemExit: 3."),
        ("zoo_nowhere:run", "cannot import 'zoo_nowhere:run'"),
    ],
)
def test_a_check_that_fails_is_a_problem_and_the_others_still_run(monkeypatch, run, text):
    monkeypatch.setattr(doctor, "CHECKS", ())
    monkeypatch.setattr(doctor, "CHECK_SECONDS", 0.5)
    good = Finding(about="memory", status="ok", text="plenty")
    checks = [CheckSpec(name="speed", run=run), CheckSpec(name="memory", run=lambda: [good])]
    plugins, failed, last = doctor.run_checks(make_registry(plugin_of(zoo_checks=lambda: checks)))
    assert (plugins.check, failed.check, last) == ("plugins", "fake/speed", ("fake/memory", good))
    assert failed.finding.status == "problem"
    assert text in failed.finding.text
    assert failed.finding.advice
