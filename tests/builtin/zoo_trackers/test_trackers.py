import os
import subprocess
import sys

import pytest

from zoo.testing import check_plugin


def test_the_plugin_keeps_the_contract_and_imports_no_library():
    check_plugin("zoo_trackers", skip=("tensorboard", "mlflow", "wandb", "trackio"))


CHECK = """
import sys
import zoo_trackers
from zoo.testing import check_tracker

(spec,) = [spec for spec in zoo_trackers.zoo_trackers() if spec.name == sys.argv[1]]
check_tracker(spec, options=dict(pair.split("=", 1) for pair in sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "options"),
    [("tensorboard", ()), ("mlflow", ("uri=sqlite:///mlflow.db",)), ("wandb", ("mode=offline",)), ("trackio", ())],
)
def test_the_trackers_keep_the_contract(name, options, tmp_path):
    pytest.importorskip(name, reason=f"the extra '{name}' is not installed")
    # In an interpreter of its own: trackio decides on its folder when it is imported.
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHECK, name, *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
