"""A head on the average and the maximum of the feature map."""

import torch
from torch import Tensor, nn

import zoo


class AvgMaxHead(zoo.Head):
    """A linear layer on the concatenated poolings; loss and activation come from `zoo.Head`."""

    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request.criterion)
        self.dropout = nn.Dropout(request.dropout)
        self.linear = nn.Linear(2 * request.map_width, request.outputs)

    def forward(self, features: zoo.Features) -> Tensor:
        """Maps features to logits (N, outputs)."""
        pooled = torch.cat([features.map.mean(dim=(2, 3)), features.map.amax(dim=(2, 3))], dim=1)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits
