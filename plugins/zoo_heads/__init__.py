"""The built-in heads: linear, mlp, cosine and attention. Importing it imports no torch."""

from __future__ import annotations

import zoo
from zoo_heads.options import AttentionOptions, CosineOptions, LinearOptions, MlpOptions


@zoo.hookimpl
def zoo_heads() -> list[zoo.HeadSpec]:
    """Returns the four heads."""
    return [
        zoo.HeadSpec(
            name="linear",
            summary="One linear layer with Xavier initialisation, on the features of one stage or of several.",
            build="zoo_heads.heads:linear_head",
            options=LinearOptions,
            candidates=({"stages": 1}, {"stages": 3}, {"stages": 3, "pooling": "catavgmax"}),
        ),
        zoo.HeadSpec(
            name="mlp",
            summary="Hidden layers, then a linear layer.",
            build="zoo_heads.heads:mlp_head",
            options=MlpOptions,
        ),
        zoo.HeadSpec(
            name="cosine",
            summary="Scaled cosine similarity between features and class weights, for few photos per class.",
            build="zoo_heads.heads:cosine_head",
            options=CosineOptions,
        ),
        zoo.HeadSpec(
            name="attention",
            summary="Attention pooling of the feature map with learned queries, then a linear layer.",
            build="zoo_heads.heads:attention_head",
            options=AttentionOptions,
        ),
    ]
