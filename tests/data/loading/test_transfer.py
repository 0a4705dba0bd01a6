import pytest
import torch

from zoo.data.loading.transfer import to_device


class Spy:
    """Stands for a tensor; takes note of how it is copied."""

    def to(self, device, **how):
        return device, how


@pytest.mark.parametrize(("name", "waits"), [("cuda:1", False), ("mps", True), ("cpu", True)])
def test_only_cuda_is_not_waited_for(name, waits):
    assert to_device(Spy(), torch.device(name)) == (torch.device(name), {"non_blocking": not waits})


def test_values_arrive():
    values = torch.arange(5)
    assert torch.equal(to_device(values, torch.device("cpu")), values)
    assert to_device(values, torch.device("meta")).device.type == "meta"
