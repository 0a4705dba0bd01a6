import pytest

import zoo_trackers
from zoo.testing import check_plugin, check_tracker

SPECS = {spec.name: spec for spec in zoo_trackers.zoo_trackers()}


def test_the_plugin_keeps_the_contract_and_imports_no_library():
    check_plugin("zoo_trackers", skip=("tensorboard", "mlflow", "wandb", "trackio"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "trackio"])
def test_the_trackers_keep_the_contract(name, tmp_path, monkeypatch):
    for library in SPECS[name].needs:
        pytest.importorskip(library)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    options = {"mlflow": {"uri": f"sqlite:///{tmp_path}/mlflow.db"}, "wandb": {"mode": "offline"}}.get(name)
    monkeypatch.chdir(tmp_path)
    check_tracker(SPECS[name], options=options)
