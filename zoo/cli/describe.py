"""Describes what plugins offer under a name, and recipes in files, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zoo.data.sources.resolve import dataset_folder
from zoo.data.sources.resolve import is_local as is_local_dataset
from zoo.errors import ConfigError, UnknownNameError, did_you_mean
from zoo.models.offers import find_options
from zoo.plugins.calls import resolve_callable
from zoo.plugins.distributions import complete_command, is_complete
from zoo.plugins.kinds import BACKBONE, DATASET, KINDS, RECIPE, Kind
from zoo.plugins.options import OptionInfo, describe_options
from zoo.plugins.registry import get_card, is_local
from zoo.plugins.specs import BackboneRequest
from zoo.recipes import TABLES, find_recipe, is_recipe_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zoo.plugins.contracts import Backbone
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import BackboneSpec, DatasetSpec, RecipeSpec, WeightsInfo
    from zoo.preprocess import Preprocess
    from zoo.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What all kinds have in common.

    Attributes:
        kind: ``"backbone"``, ``"head"``, ``"dataset"``, ``"recipe"`` ...
        name: Qualified name; of a recipe in a file its path.
        summary: One line.
        plugin: Key of the plugin that provides it; empty for a file.
        options: Its options.
    """

    kind: str
    name: str
    summary: str
    plugin: str = ""
    options: tuple[OptionInfo, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        values = asdict(self)
        for option in values["options"]:
            option["type"] = option["type"].__name__
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a backbone.

    Attributes:
        parameters: Number of parameters, without a head.
        stages: Name and number of parameters of each stage, from input to output.
        pooled_width: D of the pooled features ``(N, D)``.
        map_width: C of the feature map ``(N, C, h, w)``.
    """

    parameters: int
    stages: tuple[tuple[str, int], ...]
    pooled_width: int
    map_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneDescription(Description):
    """A backbone.

    Attributes:
        preprocess: How pixels become its input.
        weights: Its pretrained weights, or None.
        local: Whether they are known to be on this machine.
        size: None if a required option decides it.
    """

    preprocess: Preprocess
    weights: WeightsInfo | None
    local: bool
    size: Size | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription(Description):
    """A dataset.

    Attributes:
        licence: As stated by its owner; empty if unknown.
        folder: The folder of its files, created on first use.
        present: Whether that folder exists.
        local: Whether the dataset is known to need no download.
    """

    licence: str
    folder: str
    present: bool
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeDescription(Description):
    """A recipe.

    Attributes:
        values: Replace defaults of `zoo.config.FinetuneConfig`.
        from_scratch: Replace some of `values` if ``weights="none"``.
        frozen: Replace some of `values` if ``freeze="all"``.
        extends: The name of the recipe whose values these replace; empty if they replace the defaults.
    """

    values: Mapping[str, Any]
    from_scratch: Mapping[str, Any]
    frozen: Mapping[str, Any]
    extends: str


def describe(name: str, registry: Registry, *, others: Iterable[str] = ()) -> list[Description]:
    """Returns a description of everything with the given name, bare or qualified.

    A backbone is built, without weights, to count its parameters. Families, whose library takes seconds to import,
    are searched only if nothing else has the name.

    Args:
        name: The name.
        registry: The plugins.
        others: More names that may be close matches, those of runs.

    Raises:
        UnknownNameError: Nothing has the name; the hint lists close matches.
        ConfigError: The file of a recipe is missing or wrong.
    """
    if is_recipe_file(name):
        return [_describe_recipe_file(find_recipe(name, registry)[-1])]
    found = [
        _describe_offer(kind, registry.find(kind, name))
        for kind in KINDS
        if any(name in (offer.name, offer.spec.name) for offer in registry.offers(kind))
    ]
    if found:
        return found
    hint = ""
    for kind in KINDS:
        if registry.families(kind):
            try:
                return [_describe_offer(kind, registry.find(kind, name))]
            except UnknownNameError as error:
                hint = hint or error.hint
    known = [offer.name for kind in KINDS if not registry.families(kind) for offer in registry.offers(kind)]
    hint = did_you_mean(name, [*known, *others]) or hint
    if not hint and not is_complete():
        hint = f"Backbones and heads are installed with the rest of the zoo: {complete_command()}"
    raise UnknownNameError(f"No plugin offers '{name}'.", hint=hint)


def _describe_offer(kind: Kind[Any], offer: Offer[Any]) -> Description:
    describe_kind = _DESCRIBERS.get(kind.name)
    return Description(**_common(kind, offer)) if describe_kind is None else describe_kind(offer)


def describe_backbone(offer: Offer[BackboneSpec]) -> BackboneDescription:
    """Describes a backbone. Imports its library and torch."""
    card = get_card(offer)
    return BackboneDescription(
        **_common(BACKBONE, offer) | {"options": tuple(describe_options(find_options(offer)))},
        preprocess=card.preprocess,
        weights=card.weights,
        local=is_local(offer),
        size=_size(offer, card.preprocess.size),
    )


def describe_dataset(offer: Offer[DatasetSpec]) -> DatasetDescription:
    """Describes a dataset, without downloading anything."""
    folder = dataset_folder(offer)
    return DatasetDescription(
        **_common(DATASET, offer),
        licence=offer.spec.licence,
        folder=str(folder),
        present=folder.is_dir(),
        local=is_local_dataset(offer),
    )


def describe_recipe(offer: Offer[RecipeSpec]) -> RecipeDescription:
    """Describes a recipe of a plugin."""
    return RecipeDescription(**_common(RECIPE, offer), **_recipe_values(offer.spec))


def _describe_recipe_file(recipe: Recipe) -> RecipeDescription:
    common: dict[str, Any] = {"kind": RECIPE.name, "name": recipe.name, "summary": recipe.spec.summary}
    return RecipeDescription(**common, **_recipe_values(recipe.spec))


def _recipe_values(spec: RecipeSpec) -> dict[str, Any]:
    return {**{table: dict(getattr(spec, table)) for table in TABLES}, "extends": spec.extends}


def _common(kind: Kind[Any], offer: Offer[Any]) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "name": offer.name,
        "summary": offer.spec.summary,
        "plugin": offer.plugin.key,
        "options": tuple(describe_options(offer.spec.options)),
    }


def _size(offer: Offer[BackboneSpec], image_size: tuple[int, int]) -> Size | None:
    try:
        options = offer.make_options({}, owner=f"backbone {offer.name}")
    except ConfigError:  # an option without a default decides the size
        return None
    request = BackboneRequest(pretrained=False, image_size=image_size, options=options)
    backbone = offer.call("building", _build_on_meta, lambda: resolve_callable(offer.spec.build)(request))
    return offer.call("describing", _measure, backbone)


def _measure(backbone: Backbone) -> Size:
    counts = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    return Size(
        parameters=sum(counts.values()),
        stages=tuple((stage.name, sum(counts[name] for name in stage.parameters)) for stage in backbone.stages()),
        pooled_width=backbone.pooled_width,
        map_width=backbone.map_width,
    )


def _build_on_meta(build: Callable[[], Backbone]) -> Backbone:
    """Builds on torch's meta device, which takes no memory and no time to initialise weights."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except RuntimeError:  # some networks read values while they are built, which meta tensors lack
        return build()


# Kinds that have more to describe than name, summary and options.
_DESCRIBERS: dict[str, Callable[[Any], Description]] = {
    BACKBONE.name: describe_backbone,
    DATASET.name: describe_dataset,
    RECIPE.name: describe_recipe,
}
