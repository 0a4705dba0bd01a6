import sys

import pytest

from zoo.errors import MissingPackageError
from zoo.plugins import distributions
from zoo.plugins.distributions import explain_missing_module, is_complete, require_torch

ERROR = ModuleNotFoundError("No module named 'matplotlib.text'", name="matplotlib.text")


def test_what_is_installed_is_seen(monkeypatch):
    assert is_complete()
    monkeypatch.setattr(distributions, "DISTRIBUTION", "finetune-zoo-nosuch")
    assert not is_complete()


def test_torch_is_required_but_not_imported(monkeypatch):
    require_torch("Fine-tuning")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r"^Fine-tuning needs torch, which is not installed\.") as caught:
        require_torch("Fine-tuning")
    assert caught.value.hint == "Install it with the rest of the zoo: pip install finetune-zoo"


def test_a_missing_module_is_explained_unless_everything_is_installed(monkeypatch):
    assert explain_missing_module(ERROR, "'zoo show'") is None
    monkeypatch.setattr(distributions, "is_complete", lambda: False)
    explained = explain_missing_module(ERROR, "'zoo show'")
    assert explained is not None
    assert explained.message == "'zoo show' needs matplotlib, which is not installed."
