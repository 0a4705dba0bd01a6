"""The table of what plugins may offer. A new kind needs a hook in `hookspecs`, a spec in `specs` and an entry here.

Discovery, the registry, ``zoo list``, ``zoo info``, ``zoo plugins``, error messages and the contract kit read the
table.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from zoo.plugins.options import describe_options, find_unsettable
from zoo.plugins.specs import (
    Activation,
    AugmentationSpec,
    BackboneFamily,
    BackboneSpec,
    CheckSpec,
    DatasetSpec,
    ExportTargetSpec,
    Family,
    FormatSpec,
    HeadSpec,
    HubSpec,
    LossSpec,
    MetricSpec,
    OptimizerSpec,
    RecipeSpec,
    ScheduleSpec,
    Spec,
    TrackerSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=Spec)
_SUFFIX = re.compile(r"(\.[a-z0-9_\-]+)+")


def callables(spec: Spec | Family) -> dict[str, Any]:
    """Returns the callables of a spec or a family by their fields: functions, or ``"module:attribute"``."""
    values = {field.name: (str(field.type), getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    return {
        name: value
        for name, (kind, value) in values.items()
        if kind.startswith("Callable[") and not (value is None and kind.endswith("| None"))
    }


def find_spec_fault(spec: Any) -> str:
    """Returns what is wrong with the options or the callables of a spec; it imports none of them."""
    if not isinstance(spec.options, type) or not dataclasses.is_dataclass(spec.options):
        return "whose options are not a dataclass"
    try:
        describe_options(spec.options)
    except NameError as error:
        return f"whose options cannot be read: {error}; import every type that they name"
    if name := find_unsettable(spec.options):
        return f"whose option '{name}' has no default and a type that no user can set (docs/plugins.md lists the types)"
    return find_field_fault(spec)


def find_field_fault(spec: Any) -> str:
    """Returns which text or which callable of a spec or a family is none, or an empty string."""
    for field in dataclasses.fields(spec):
        if field.type == "str" and not isinstance(value := getattr(spec, field.name), str):
            return f"whose '{field.name}' is {value!r:.80}, not text"
    for name, value in callables(spec).items():
        module, _, attribute = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not callable(value) and not (module.strip() and attribute.strip()):
            return f"whose '{name}' is {value!r:.80}, neither a function nor 'module:attribute'"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[S]):
    """A kind of offer.

    Attributes:
        name: Singular, for messages: ``"backbone"``.
        spec: The class of its specs.
        family: The class that stands for many specs of this kind, or None.
        listed: Whether ``zoo list`` lists it unless asked for other kinds.
        find_fault: Returns what is wrong with a spec (``"whose options are not a dataclass"``), or an empty string.
    """

    name: str
    spec: type[S]
    family: type[Family] | None = None
    listed: bool = False
    find_fault: Callable[[S], str] = find_spec_fault

    @property
    def plural(self) -> str:
        """``"backbones"``."""
        return f"{self.name}{'es' if self.name.endswith('s') else 's'}"

    @property
    def word(self) -> str:
        """The plural as the command line has it: ``"export-targets"``."""
        return self.plural.replace(" ", "-")

    @property
    def singular_word(self) -> str:
        """The singular as the command line has it: ``"export-target"``."""
        return self.name.replace(" ", "-")

    @property
    def hook(self) -> str:
        """Name of the hook that returns its specs: ``"zoo_backbones"``."""
        return f"zoo_{self.plural.replace(' ', '_')}"

    @property
    def accepted_types(self) -> tuple[type[Any], ...]:
        """The classes that the hook may return."""
        return (self.spec,) if self.family is None else (self.spec, self.family)


def _find_suffix_fault(spec: FormatSpec) -> str:
    suffixes: object = spec.suffixes
    if not isinstance(suffixes, tuple) or not all(isinstance(s, str) and _SUFFIX.fullmatch(s) for s in suffixes):
        return "whose suffixes are not a tuple of lower-case suffixes such as '.onnx'"
    return find_spec_fault(spec) if suffixes else "which has no suffix"


def _find_hub_fault(spec: HubSpec) -> str:
    fault = find_spec_fault(spec)
    return fault or ("whose name is a single letter, as of a drive of Windows" if len(spec.name) < 2 else "")


def _find_loss_fault(spec: LossSpec) -> str:
    if spec.activation not in get_args(Activation):
        return f"whose activation is {spec.activation!r:.80}, neither 'softmax' nor 'sigmoid'"
    return find_spec_fault(spec)


def _find_augmentation_fault(spec: AugmentationSpec) -> str:
    if spec.per_image and spec.mixes_labels:
        return "which is for a single image (per_image), and mixes several (mixes_labels)"
    if spec.mixes_features and not spec.mixes_labels:
        return "which mixes features (mixes_features), but no labels (mixes_labels)"
    return find_spec_fault(spec)


def _find_recipe_fault(spec: RecipeSpec) -> str:
    for name in ("values", "from_scratch", "frozen"):
        table: object = getattr(spec, name)
        if not isinstance(table, Mapping) or not all(isinstance(key, str) for key in table):
            return f"whose '{name}' is {table!r:.80}, not a dict of values by the names of fields"
    return find_spec_fault(spec)


def _find_target_fault(spec: ExportTargetSpec) -> str:
    usage: object = spec.usage
    if not isinstance(usage, tuple) or not all(isinstance(line, str) for line in usage):
        return f"whose 'usage' is {usage!r:.80}, not a tuple of lines"
    for line in usage:
        try:
            line.format(path=Path("folder/sub/model"))
        except (LookupError, ValueError, AttributeError) as error:
            return f"whose 'usage' has a line with another placeholder than {{path}}: {line!r:.80} ({error})"
    return find_spec_fault(spec)


BACKBONE = Kind(name="backbone", spec=BackboneSpec, family=BackboneFamily, listed=True)
HEAD = Kind(name="head", spec=HeadSpec, listed=True)
DATASET = Kind(name="dataset", spec=DatasetSpec, listed=True)
RECIPE = Kind(name="recipe", spec=RecipeSpec, find_fault=_find_recipe_fault)
OPTIMIZER = Kind(name="optimizer", spec=OptimizerSpec, family=Family)
SCHEDULE = Kind(name="schedule", spec=ScheduleSpec)
LOSS = Kind(name="loss", spec=LossSpec, find_fault=_find_loss_fault)
AUGMENTATION = Kind(name="augmentation", spec=AugmentationSpec, find_fault=_find_augmentation_fault)
METRIC = Kind(name="metric", spec=MetricSpec)
TRACKER = Kind(name="tracker", spec=TrackerSpec)
EXPORT_TARGET = Kind(name="export target", spec=ExportTargetSpec, find_fault=_find_target_fault)
FORMAT = Kind(name="format", spec=FormatSpec, find_fault=_find_suffix_fault)
HUB = Kind(name="hub", spec=HubSpec, find_fault=_find_hub_fault)
CHECK = Kind(name="check", spec=CheckSpec)

KINDS: tuple[Kind[Any], ...] = (
    *(BACKBONE, HEAD, DATASET, RECIPE, OPTIMIZER, SCHEDULE, LOSS, AUGMENTATION, METRIC, TRACKER, EXPORT_TARGET),
    *(FORMAT, HUB, CHECK),
)
