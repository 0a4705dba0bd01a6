"""A small trained run and the file exported from it, made once by one of the processes that test; none changes them."""

import os
import pickle

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function that returns what another one makes in the folder it is given; the other processes wait for that."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        folder = shared / name
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "lock"):
            made = folder / "made.pickle"
            if not made.exists():
                made.write_bytes(pickle.dumps(make(folder)))
            return pickle.loads(made.read_bytes())

    return once


@pytest.fixture(scope="session")
def small_registry():
    from fakes import FakePlugin, registry_of

    return registry_of(FakePlugin())


@pytest.fixture(scope="session")
def small_run(made_once, small_registry):
    def make(folder):
        from zoo.training.finetune import finetune

        values = {"head": "flat", "epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", "precision": "fp32"}
        return finetune("small", data="colours", runs=folder / "runs", registry=small_registry, **values)

    return made_once("small-run", make)


@pytest.fixture(scope="session")
def exported(made_once, small_run, small_registry):
    def make(folder):
        from zoo_export.exporting import export

        return export(small_run, folder / "small.onnx", device="cpu", registry=small_registry)

    return made_once("exported", make)
