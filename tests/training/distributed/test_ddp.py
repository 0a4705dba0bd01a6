from contextlib import nullcontext

import pytest
import torch
from criteria import make_criterion
from fakes import SmallBackbone
from torch import nn

from zoo.models.precision import Precision
from zoo.training.distributed.ddp import gradient_sync, sync_batch_norm, unused_parameters
from zoo.training.mixing import MixedBatch

FP32 = Precision(name="fp32", device=torch.device("cpu"), reason="a test")


class Network(nn.Module):
    """A network with dropout, batch normalisation, an unused layer, and a layer that is used only in training."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.unused = SmallBackbone(dropout=0.5), nn.Linear(2, 2)
        self.head, self.auxiliary = nn.Linear(12, 3), nn.Linear(12, 3)
        self.head.loss = make_criterion("cross-entropy").loss
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, images):
        pooled = self.backbone(images).pooled
        return self.head(pooled) + (self.auxiliary(pooled) if self.training else 0)


def make_batch(count=5):
    return MixedBatch(torch.randn(count, 3, 16, 16), torch.arange(count) % 3)


def test_unused_parameters_are_found_without_changing_anything():
    network, batch = Network().train(), make_batch()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    unused = unused_parameters(network, batch, FP32)
    assert {id(parameter) for parameter in unused} == {id(parameter) for parameter in network.unused.parameters()}
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_single_process_exchanges_no_gradients():
    for last in (False, True):
        assert isinstance(gradient_sync(Network(), last=last), nullcontext)


def test_batch_normalisations_are_synchronised_only_on_cuda():
    network = SmallBackbone().train()
    network.body["stem"].eval()
    assert sync_batch_norm(network) == 2  # those in train mode
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", ["torch", "timm", "own"])
def test_known_batch_normalisations_are_synchronised_on_cuda(kind):
    from timm.layers import BatchNormAct2d

    class Own(nn.BatchNorm2d):
        """A class of a plugin, which may do anything in `forward`."""

    norm = {"torch": nn.BatchNorm2d, "timm": BatchNormAct2d, "own": Own}[kind](4)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm).cuda().train()
    photos = torch.randn(2, 3, 5, 5, device="cuda")
    names, expected = list(network.state_dict()), network.eval()(photos)
    network.train()
    assert sync_batch_norm(network) == (kind == "own")
    assert isinstance(network[1], nn.SyncBatchNorm) == (kind != "own")
    assert list(network.state_dict()) == names
    assert network[1].weight is norm.weight
    torch.testing.assert_close(network.eval()(photos), expected)
