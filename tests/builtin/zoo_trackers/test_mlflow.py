"""MLflow with a server on loopback, and with an SQLite store."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

mlflow = pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
pytest.importorskip("sqlalchemy", reason="only mlflow-skinny is installed, which has no server")
# MLflow uses what SQLAlchemy is about to remove.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an MLflow server with an SQLite store."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    log = (folder / "server.log").open("w")
    process = subprocess.Popen([*command, *store], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def find_runs(uri, query):
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("finetune-zoo")
    return client, client.search_runs([experiment.experiment_id], query)


def check_run(uri, folder):
    client, (run,) = find_runs(uri, f"attributes.run_name = '{folder.name}'")
    assert run.info.status == "FINISHED"
    assert run.data.params["backbone"] == "tiny"
    assert run.data.params["head_options.hidden"] == "3"
    assert run.data.metrics["test.accuracy"] == 0.75
    assert run.data.tags["finetune_zoo.folder"] == str(folder.resolve())
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted((each.step, each.value) for each in history) == [(0, 0.5), (1, 0.5), (2, 0.5)]
    speeds = client.get_metric_history(run.info.run_id, "images_per_second")
    assert sorted((each.step, each.value) for each in speeds) == [(0, 16), (1, 16), (2, 16)]
    assert run.data.metrics["run.seconds"] == 3.0
    names = {file.path for part in ("pictures", "run") for file in client.list_artifacts(run.info.run_id, part)}
    assert names == {
        *("pictures/curves.png", "pictures/confusion.png", "pictures/mistakes.png"),
        *("run/run.json", "run/model.safetensors"),
    }
    return client, run


def test_a_server_gets_the_run_and_prints_nothing(track, server, capsys):
    client, run = check_run(server, track("mlflow", uri=server))
    assert capsys.readouterr().out == ""
    path = client.download_artifacts(run.info.run_id, "run/model.safetensors")
    assert Path(path).stat().st_size == 10


def test_a_resumed_run_is_the_same_run(track, server):
    track("mlflow", uri=server, name="again", status="interrupted")
    _, (run,) = find_runs(server, "attributes.run_name = 'again'")
    assert run.info.status == "KILLED"
    track("mlflow", uri=server, name="again", resumed=True)
    _, (same,) = find_runs(server, "attributes.run_name = 'again'")
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")


def test_the_runs_of_a_comparison_are_nested_under_one_parent(track, server):
    for name in ("one", "two"):
        track("mlflow", uri=server, name=name, group="compare it's tiny")
    children = [run for name in ("one", "two") for run in find_runs(server, f"attributes.run_name = '{name}'")[1]]
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in children}
    assert len(children) == 2
    client = mlflow.MlflowClient(tracking_uri=server)
    assert client.get_run(parent).info.run_name == "compare it's tiny"
    assert client.get_run(parent).info.status == "FINISHED"


def test_a_local_store_needs_no_server(track, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_run(f"sqlite:///{tmp_path}/local.db", track("mlflow", uri=f"sqlite:///{tmp_path}/local.db"))
