import urllib.request

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Small networks run faster on one thread, above all if other processes use the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Empty caches of torch and of the Hugging Face Hub in the returned folder, and a proxy that does not exist."""
    from huggingface_hub import constants

    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # keeps the proxies of its first use
    monkeypatch.chdir(tmp_path)
    return tmp_path
