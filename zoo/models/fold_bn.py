"""Makes batch normalisations part of the convolutions before them, where neither learns: the same in less time."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zoo.models.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.models.classifier import Classifier
    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Backbone

_EXAMPLES = 2


@torch.no_grad()
def fold_batch_norm(backbone: Backbone, *, image_size: tuple[int, int], precision: Precision) -> Backbone:
    """Returns a copy, in eval mode, that gives what the backbone gives in eval mode, to rounding.

    A batch normalisation that alone looks at the output of a convolution is a factor and an offset for each of its
    channels, and so can be part of its weights: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2. Which
    ones these are is found by tracing the backbone; one that cannot be traced is copied as it is.

    The copy shares all tensors that it need not change. Those that it changes are as they are now: what is folded must
    not learn as long as the copy is used, unless the copy is used to evaluate alone.

    Args:
        backbone: On the device of `precision`; left as it is.
        image_size: (height, width) in pixels.
        precision: Of forward passes.
    """
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    folded = copy.deepcopy(backbone, shared).eval()
    images = torch.zeros(_EXAMPLES, 3, *image_size, device=precision.device)
    try:
        with precision.autocast():
            graph = Tracer(images.contiguous(memory_format=torch.channels_last), is_leaf=_is_leaf).trace(folded)
    except Exception:  # the Python of any network is run here with what stands for tensors
        return folded
    for convolution, norm in [*_pairs(graph, folded)]:
        modules: Any = folded.get_submodule(convolution), folded.get_submodule(norm)
        folded.set_submodule(convolution, fuse_conv_bn_eval(*modules).requires_grad_(False))
        folded.set_submodule(norm, nn.Identity().eval())
    return folded


def folded(classifier: Classifier, *, image_size: tuple[int, int], precision: Precision) -> Classifier:
    """Returns a classifier of the same outputs whose backbone is that of `fold_batch_norm`, to evaluate with."""
    backbone = fold_batch_norm(classifier.backbone, image_size=image_size, precision=precision)
    return classifier.like(backbone, classifier.head)


def _is_leaf(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)


def _pairs(graph: fx.Graph, network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yields the names of each convolution and the batch normalisation that it can take in."""
    calls = Counter(id(_module(node, network)) for node in graph.nodes if node.op == "call_module")
    # Whose weights are looked at by themselves has to keep them.
    looked_at = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    for node in graph.nodes:
        if node.op != "call_module" or type(_module(node, network)) is not nn.BatchNorm2d:
            continue
        (before,) = node.all_input_nodes
        pair = (before, node)
        if (
            before.op == "call_module"
            and isinstance(_module(before, network), nn.Conv2d)
            and len(before.users) == 1
            and _module(node, network).track_running_stats
            and all(calls[id(_module(each, network))] == 1 for each in pair)
            and all(each.target not in looked_at and not _is_watched(_module(each, network)) for each in pair)
        ):
            yield before.target, node.target


def _module(node: fx.Node, network: nn.Module) -> nn.Module:
    return network.get_submodule(str(node.target))


def _is_watched(module: nn.Module) -> bool:
    """Returns whether a hook is told of its calls, or its weights are made of others (as by weight normalisation)."""
    return bool(module._forward_hooks or module._forward_pre_hooks) or hasattr(module, "parametrizations")
