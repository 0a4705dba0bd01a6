"""timm's networks as backbones. Imports timm."""

from __future__ import annotations

import itertools
import pickle
import re
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import safetensors
import timm
from timm.models import group_parameters
from torch import Tensor, nn

from zoo.errors import ConfigError, PluginError, WeightsError, ZooError
from zoo.models.features import image_size_error, measure_widths, tokens_to_map
from zoo.models.weights import describe_pickle_error
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.servers import WEIGHTS_HINT
from zoo_timm.arguments import given_arguments
from zoo_timm.pretrained import card, fetch_weights, weights_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zoo.plugins.specs import BackboneRequest

_PREFIX = "net."


class TimmBackbone(Backbone):
    """A network of timm without its output layer.

    The pooled features are the input of the output layer. If a network has several output layers (distilled, or one per
    branch), timm combines their inputs: it averages them, or concatenates those of branches with different widths.

    Args:
        net: The network, whose output layers this removes.
        use_intermediates: Whether to compute the map with ``forward_intermediates``, for networks whose
            ``forward_features`` returns no map, because they keep branches apart or drop all but the class token.
        arguments: The arguments that the network was created with, for whoever creates it again.

    Attributes:
        net: The network without its output layers.
    """

    def __init__(
        self, net: Any, *, use_intermediates: bool = False, arguments: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        self.arguments = dict(arguments)
        self.several_outputs = _remove_outputs(net) > 1
        self.net: Any = net  # Any: this class calls methods of timm's networks that nn.Module lacks
        self.use_intermediates = use_intermediates

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)`` to the input of the removed output layer, and to the last spatial features.

        Raises:
            PluginError: The network's features have no spatial layout.
        """
        if self.use_intermediates:
            features, maps = self.net.forward_intermediates(images, indices=1, norm=True)
            feature_map = maps[-1]
        else:
            features = self.net.forward_features(images)
            feature_map = self._to_map(features, images)
        return Features(pooled=self.net.forward_head(features, pre_logits=self.several_outputs), map=feature_map)

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stem, then the stages or blocks that timm groups for layer-wise learning rates."""
        stages: dict[str, tuple[str, ...]] = {}
        for group in _groups(self.net):
            full = _common_name(group)
            # Up to the first number: "stages.0", whatever its blocks are called.
            short = full[: match.end()] if (match := re.search(r"\.\d+(?=\.|$)", full)) else full
            names = (short, full, f"{full}.{len(stages)}") if stages else ("stem",)
            stages[next(name for name in names if name not in stages)] = tuple(_PREFIX + name for name in group)
        return tuple(Stage(name, parameters) for name, parameters in stages.items())

    def stage_modules(self) -> dict[str, nn.Module]:
        """Returns, of each stage, the module that its parameters share, apart from later ones that timm adds to it."""
        modules, parts = super().stage_modules(), dict(self.net.named_modules())
        for stage in self.stages():
            names = [name.removeprefix(_PREFIX) for name in stage.parameters]
            path = _common_name(names)
            if path in parts and all(f"{path}.{name}" in names for name, _ in parts[path].named_parameters()):
                modules[stage.name] = parts[path]
        return modules

    def stage_map(self, output: Tensor, images: Tensor) -> Tensor:
        """Converts the output of a stage from any of timm's formats (NCHW, NHWC, NLC) to ``(N, C, h, w)``.

        Raises:
            PluginError: It has no spatial layout.
        """
        return self._to_spatial(output, images)

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Prefixes timm's names with ``net.``, and converts files of a network's authors with timm's filter.

        The filter also resizes position embeddings to the image size.
        """
        bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
        ours = self.net.state_dict()
        if (missing := _count_misfits(bare, ours)) and (filtered := self._filtered(bare)) is not None:
            bare = filtered if _count_misfits(filtered, ours) < missing else bare
        return {_PREFIX + name if name in ours else name: tensor for name, tensor in bare.items()}

    def _filtered(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Runs timm's filter for checkpoints of the network; returns None if there is none, or it fails."""
        checkpoint_filter = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        if checkpoint_filter is None:
            return None
        try:
            return {
                name: value for name, value in checkpoint_filter(dict(state), self.net).items() if value is not None
            }
        # The filters assume a file of the right network; `load_backbone` reports any other.
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError, AssertionError):
            return None

    def _to_map(self, features: Any, images: Tensor) -> Tensor:
        """Converts features from any of timm's formats (NCHW, NHWC, NLC) to ``(N, C, h, w)``."""
        if not isinstance(features, Tensor):
            raise PluginError(
                f"{type(self.net).__name__} returns {type(features).__name__}, not one tensor of features."
            )
        feature_map = self._to_spatial(features, images)
        if feature_map.shape[1] != self.net.num_features:
            raise PluginError(
                f"{type(self.net).__name__} returns features of shape {tuple(features.shape)}, in which "
                f"its {self.net.num_features} channels are in an unexpected place."
            )
        return feature_map

    def _to_spatial(self, features: Tensor, images: Tensor) -> Tensor:
        if features.ndim == 3:
            prefix = getattr(self.net, "num_prefix_tokens", 0)
            if features.shape[1] - prefix <= 1:
                raise PluginError(f"{type(self.net).__name__} returns class tokens only.")
            return tokens_to_map(features, prefix=prefix, image_size=(images.shape[2], images.shape[3]))
        channels_last = getattr(self.net, "output_fmt", None) == "NHWC"
        return features.permute(0, 3, 1, 2) if channels_last and features.ndim == 4 else features


def build(name: str, request: BackboneRequest) -> Backbone:
    """Builds a network of timm as a backbone; see `zoo.plugins.specs.BackboneSpec.build`.

    Raises:
        ConfigError: The network does not accept the requested image size or an argument, or has no stochastic depth.
        PluginError: The network's features have no spatial layout.
        WeightsError: The requested pretrained weights are not available.
    """
    hint = "Its weights were trained at {0} x {1} pixels: pass --image-size {0}.".format(*card(name).preprocess.size)
    arguments = given_arguments(request.options)
    if arguments:
        hint = f"Omit {_join(arguments)}, which may not fit. {hint}"
    net = _create(name, request, arguments, hint)
    try:
        return _with_widths(TimmBackbone(net, arguments=arguments), name, request, hint)
    except PluginError:
        if not hasattr(net, "forward_intermediates"):
            raise
    return _with_widths(TimmBackbone(net, use_intermediates=True, arguments=arguments), name, request, hint)


def _with_widths(backbone: TimmBackbone, name: str, request: BackboneRequest, hint: str) -> TimmBackbone:
    backbone.pooled_width, backbone.map_width = measure_widths(backbone, request.image_size, owner=name, hint=hint)
    return backbone


def _create(name: str, request: BackboneRequest, given: Mapping[str, Any], hint: str) -> nn.Module:
    arguments: dict[str, Any] = dict(given)
    if request.pretrained:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": fetch_weights(name)}
    cfg = weights_config(name)
    if cfg.fixed_input_size and request.image_size != tuple(cfg.input_size[1:]):
        arguments["img_size"] = request.image_size
    if request.options.drop_path:
        arguments["drop_path_rate"] = request.options.drop_path
    try:
        net: nn.Module = timm.create_model(name, **arguments)
    except Exception as error:
        replacement = _creation_error(name, request, arguments, error, hint)
        if given and not isinstance(error, MemoryError):
            advice = "Weights that do not fit the changed network are left out with --weights none."
            replacement = ConfigError(
                f"timm cannot build {name} with {_join(given)}: {describe_pickle_error(error)}.",
                hint=advice if request.pretrained else f"'zoo info timm/{name}' lists the options.",
            )
        if replacement is None:
            raise
        raise replacement from error
    return net.train()


def _creation_error(
    name: str, request: BackboneRequest, arguments: Mapping[str, Any], error: Exception, hint: str
) -> ZooError | None:
    """Returns what is raised in place of an exception of timm; None for one that the user cannot put right."""
    match error:
        case TypeError() if "drop_path_rate" in str(error):
            return ConfigError(f"{name} has no stochastic depth: option 'drop_path' does not apply.", hint="Omit it.")
        case TypeError() if "img_size" not in arguments:
            return None
        case TypeError() | AssertionError() | ValueError() | ZeroDivisionError():
            return image_size_error(name, request.image_size, error, hint=hint)
        case (
            RuntimeError()
            | OSError()
            | KeyError()
            | EOFError()
            | pickle.UnpicklingError()
            | safetensors.SafetensorError()
        ):
            if not request.pretrained:
                return image_size_error(name, request.image_size, error, hint=hint)
            problem = f"The pretrained weights of {name} cannot be loaded: {describe_pickle_error(error)}."
            return WeightsError(problem, hint=WEIGHTS_HINT)
    return None


def _join(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _remove_outputs(net: Any) -> int:
    """Replaces the output layers of a network by the identity, and returns their number."""
    classifier = net.pretrained_cfg.get("classifier") or ()
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    if len(names) > 1:
        # With the normalisation that each may contain, because fused features skip it.
        modules = net.get_classifier()
        modules = modules if isinstance(modules, tuple) else (modules,)
        names += [name for name, module in net.named_modules() if any(module is m for m in modules)]
    for name in names:
        parent, _, child = name.rpartition(".")
        try:
            net.get_submodule(name)
        except AttributeError:
            # Removed with its parent, or a network without an output.
            if len(names) == 1 and net.num_classes > 0:
                raise PluginError(
                    f"timm states that {type(net).__name__} ends in {name}, which does not exist."
                ) from None
            continue
        setattr(net.get_submodule(parent), child, nn.Identity())
    return len(names)


def _count_misfits(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> int:
    """Returns the number of our entries that a state dict lacks, or has in another shape."""
    return sum(name not in state or state[name].shape != tensor.shape for name, tensor in ours.items())


def _groups(net: Any) -> list[list[str]]:
    """Returns the names of the parameters in timm's groups, from input to output; without groups, by child."""
    if not hasattr(net, "group_matcher"):
        return list(_by_child(name for name, _ in net.named_parameters()).values())
    try:
        matcher = net.group_matcher(coarse=True)
    # Some networks have only one grouping.
    except (AssertionError, NotImplementedError):
        matcher = net.group_matcher(coarse=False)
    return list(group_parameters(net, matcher).values())


def _by_child(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition(".")[0], []).append(name)
    return groups


def _common_name(parameters: list[str]) -> str:
    """Returns the module that the parameters of a stage share, apart from later ones that timm adds to the stage."""
    first = next(iter(_by_child(parameters).values()))
    paths = [name.split(".")[:-1] or [name] for name in first]
    shared = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return ".".join(parts[0] for parts in shared)
