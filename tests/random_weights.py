"""Gives networks weights that reveal a wrong computation."""

import torch
from torch import nn


def randomise_constants(net: nn.Module) -> nn.Module:
    """Adds noise to all weights that are zeros or ones, because they would hide a wrong computation; sets eval mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.numel() == 1 or tensor.std() == 0:
                tensor += 0.2 * torch.randn_like(tensor)
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return net.eval()
