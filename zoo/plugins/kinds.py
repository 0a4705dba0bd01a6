"""The table of what plugins may offer. A new kind is one hook in `hookspecs`, one spec in `specs`, and one entry here.

Discovery, registry, ``zoo list``, ``zoo info``, ``zoo plugins``, error messages and the contract kit read the table.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zoo.plugins.options import describe_options
from zoo.plugins.specs import BackboneFamily, BackboneSpec, CheckSpec, DatasetSpec, FormatSpec, HeadSpec, Spec

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=Spec)
_SUFFIX = re.compile(r"(\.[a-z0-9_\-]+)+")


def _nothing_wrong(spec: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[S]):
    """A kind of offer.

    Attributes:
        name: In the singular, ``"backbone"``, as messages have it.
        spec: The class of its specs.
        family: The class that stands for many specs of this kind, or None.
        chosen: Whether users choose one by name; the others serve by themselves, and are not listed by ``zoo list``.
        fault: Returns what is wrong with a spec, as the end of a sentence that begins with its name; empty if nothing.
    """

    name: str
    spec: type[S]
    family: type[BackboneFamily] | None = None
    chosen: bool = True
    fault: Callable[[S], str] = _nothing_wrong

    @property
    def plural(self) -> str:
        """``"backbones"``."""
        return f"{self.name}s"

    @property
    def hook(self) -> str:
        """The hook that offers it, ``"zoo_backbones"``."""
        return f"zoo_{self.plural}"

    @property
    def accepted(self) -> tuple[type[Any], ...]:
        """The classes that the hook may return."""
        return (self.spec,) if self.family is None else (self.spec, self.family)


def _options_fault(spec: Any) -> str:
    if not isinstance(spec.options, type) or not dataclasses.is_dataclass(spec.options):
        return "whose options are not a dataclass"
    try:
        describe_options(spec.options)
    except NameError as error:
        return f"whose options cannot be read: {error}; import what their types name"
    return ""


def _suffix_fault(spec: FormatSpec) -> str:
    suffixes: object = spec.suffixes
    if not isinstance(suffixes, tuple) or not all(isinstance(s, str) and _SUFFIX.fullmatch(s) for s in suffixes):
        return "whose suffixes are not a tuple of lower-case endings like '.onnx'"
    return "" if suffixes else "without a suffix"


BACKBONE = Kind(name="backbone", spec=BackboneSpec, family=BackboneFamily, fault=_options_fault)
HEAD = Kind(name="head", spec=HeadSpec, fault=_options_fault)
DATASET = Kind(name="dataset", spec=DatasetSpec, fault=_options_fault)
FORMAT = Kind(name="format", spec=FormatSpec, chosen=False, fault=_suffix_fault)
CHECK = Kind(name="check", spec=CheckSpec, chosen=False)

KINDS: tuple[Kind[Any], ...] = (BACKBONE, HEAD, DATASET, FORMAT, CHECK)
