"""A small trained run and the file exported from it, made once; no test changes them."""

import pytest


@pytest.fixture(scope="session")
def small_registry():
    from fakes import FakePlugin, registry_of

    return registry_of(FakePlugin())


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, small_registry):
    from zoo.finetuning.finetune import finetune

    values = {"head": "flat", "epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu", "precision": "fp32"}
    return finetune("small", data="colours", runs=tmp_path_factory.mktemp("runs"), registry=small_registry, **values)


@pytest.fixture(scope="session")
def exported(small_run, small_registry, tmp_path_factory):
    from zoo_export.exporting import export

    target = tmp_path_factory.mktemp("exported") / "small.onnx"
    return export(small_run, target, device="cpu", registry=small_registry)
