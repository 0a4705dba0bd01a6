"""Folds batch normalisations into the convolutions before them, for networks that do not train: faster, same output."""

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
    """Returns a copy of a backbone in eval mode with folded batch normalisations; same output up to rounding.

    A batch normalisation is a factor and an offset per channel. If it is the only consumer of a convolution, both can
    be part of the convolution's weights (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2). Tracing the
    backbone finds such pairs; a backbone that cannot be traced is copied unchanged.

    The copy shares all tensors that it does not change. It does not follow later changes of the folded weights, so they
    must not train while the copy is in use.

    Args:
        backbone: A network on the device of `precision`; not changed.
        image_size: (height, width) in pixels.
        precision: Precision of the forward passes.
    """
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    folded = copy.deepcopy(backbone, shared).eval()
    images = torch.zeros(_EXAMPLES, 3, *image_size, device=precision.device)
    try:
        with precision.autocast():
            graph = Tracer(
                images.contiguous(memory_format=torch.channels_last), is_leaf=_is_leaf, method="extract"
            ).trace(folded)
    except Exception:  # tracing runs arbitrary code of the network with proxies instead of tensors
        return folded
    for convolution, norm in [*_find_pairs(graph, folded)]:
        modules: Any = folded.get_submodule(convolution), folded.get_submodule(norm)
        folded.set_submodule(convolution, fuse_conv_bn_eval(*modules).requires_grad_(False))
        folded.set_submodule(norm, nn.Identity().eval())
    return folded


def fold_classifier(classifier: Classifier, *, image_size: tuple[int, int], precision: Precision) -> Classifier:
    """Returns a classifier for evaluation with the same output, whose backbone is folded by `fold_batch_norm`."""
    backbone = fold_batch_norm(classifier.backbone, image_size=image_size, precision=precision)
    return classifier.like(backbone, classifier.head)


def _is_leaf(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)


def _find_pairs(graph: fx.Graph, network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yields the names of each convolution and of the batch normalisation that can be folded into it."""
    calls = Counter(id(_module(node, network)) for node in graph.nodes if node.op == "call_module")
    # Modules whose parameters are read directly must keep them.
    read_directly = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
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
            and all(each.target not in read_directly and not _has_hooks(_module(each, network)) for each in pair)
        ):
            yield before.target, node.target


def _module(node: fx.Node, network: nn.Module) -> nn.Module:
    return network.get_submodule(str(node.target))


def _has_hooks(module: nn.Module) -> bool:
    """Returns whether a module has forward hooks or parametrized weights, such as weight normalisation."""
    return bool(module._forward_hooks or module._forward_pre_hooks) or hasattr(module, "parametrizations")
