"""A small trained run and its exported file, made once for all test processes; tests do not modify them."""

import os
import pickle

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def build_once(tmp_path_factory):
    """A function that calls another one with a folder, and shares its result between the test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, build):
        folder = shared / name
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "lock"):
            result = folder / "result.pickle"
            if not result.exists():
                result.write_bytes(pickle.dumps(build(folder)))
            return pickle.loads(result.read_bytes())

    return once


@pytest.fixture(scope="session")
def small_registry():
    from fakes import FakePlugin, make_registry

    return make_registry(FakePlugin())


@pytest.fixture(scope="session")
def small_run(build_once, small_registry):
    def build(folder):
        from zoo.training.finetune import finetune

        values = {"head": "flat", "epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", "precision": "fp32"}
        return finetune("small", data="colours", runs=folder / "runs", registry=small_registry, **values)

    return build_once("small-run", build)


@pytest.fixture(scope="session")
def exported(build_once, small_run, small_registry):
    def build(folder):
        from zoo_export.targets.onnx import export_onnx

        return export_onnx(small_run, folder / "small.onnx", device="cpu", registry=small_registry)

    return build_once("exported", build)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder runs/ in the working directory, with the finished and exported run r-1."""
    from onnx_files import CREATED, WEIGHTS, make_run_card, write_model

    from zoo.runs.manifest import write_manifest
    from zoo.runs.record import RunRecord, write_record
    from zoo_export.exported_files import add_to_manifest

    folder = tmp_path / "runs" / "r-1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    write_record(folder, RunRecord(status="finished", created=CREATED))
    write_manifest(folder)
    write_model(folder / "model.onnx", make_run_card())
    add_to_manifest(folder / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def flip_last_bit():
    """A function that flips the last bit of a file."""

    def flip(path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return flip


@pytest.fixture
def zoo_command():
    """A function that runs ``zoo`` with arguments, checks the exit code, and returns the output or the error."""
    from click.testing import CliRunner

    from zoo.cli.main import cli

    def run(*args, code=0):
        result = CliRunner().invoke(cli, [str(arg) for arg in args])
        assert result.exit_code == code, (result.output, result.exception)
        return str(result.exception) if isinstance(result.exception, Exception) else result.output

    return run
