import pytest
import torch

from zoo.errors import ConfigError
from zoo.training.distributed.device import device_for
from zoo.training.distributed.process_group import ProcessGroup


@pytest.mark.parametrize(
    ("name", "gpus", "message", "hint"),
    [
        ("cuda", 2, "3 processes need a GPU each, but torch .* sees 2", "Pass --devices 2 or --device cpu."),
        ("auto", 1, "3 processes need a GPU each, but torch .* sees 1", "Pass --devices 1 or --device cpu."),
        ("cuda", 0, "3 processes need a GPU each, but torch .* sees 0", "Pass --device cpu."),
        ("cuda:1", 4, "'cuda:1', a single device, for 3 processes", "Pass --device cuda or --device cpu"),
    ],
)
def test_too_few_gpus_are_an_error(monkeypatch, name, gpus, message, hint):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=message) as caught:
        device_for(name, ProcessGroup(count=3, local_count=3))
    assert caught.value.hint.startswith(hint)


def test_every_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    second = ProcessGroup(rank=5, count=8, local_rank=1, local_count=4)
    assert device_for("cuda", second) == torch.device("cuda", 1)
    assert device_for("cpu", second) == torch.device("cpu")
