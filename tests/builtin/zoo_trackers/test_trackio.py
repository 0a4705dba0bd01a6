"""trackio, on this machine."""

import subprocess
import sys

import pytest

pytest.importorskip("trackio", reason="the extra 'trackio' is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

READ = """
import trackio
(run,) = trackio.Api().runs("finetune-zoo")
print(run.name)
from trackio.sqlite_storage import SQLiteStorage
for row in SQLiteStorage.get_logs("finetune-zoo", run.name):
    print(row)
"""


def test_a_local_project_has_the_run(track, monkeypatch, tmp_path):
    import trackio.utils

    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for module in [module for name, module in sys.modules.items() if name.startswith("trackio") and module]:
        if hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    assert tmp_path / "trackio" == trackio.utils.TRACKIO_DIR
    folder = track("trackio")
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == folder.name
    assert "'val_loss': 0.5" in done.stdout
    assert "'images_per_second': 16.0" in done.stdout
    assert "'test.accuracy': 0.75" in done.stdout
