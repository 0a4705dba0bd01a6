"""The family of timm's networks: their names and specs. Imports neither torch nor, once the names are cached, timm.

The zoo's cache folder holds the more than a thousand names, because timm takes seconds to import.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.plugins.calls import lazy
from zoo.plugins.options import option
from zoo.plugins.specs import BackboneSpec
from zoo.utils.files import atomic_write
from zoo.utils.paths import home

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmOptions:
    """The options of timm's networks.

    Attributes:
        drop_path: Probability of skipping the deepest block in training, decreasing linearly towards the input
            (stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382).
    """

    drop_path: float = option(
        0.0, help="probability of skipping the deepest block in training (stochastic depth)", minimum=0, maximum=0.9
    )


def resolve(name: str) -> BackboneSpec | None:
    """Returns the spec of one of timm's names (``resnet50d``, ``resnet18.a1_in1k``), or None."""
    if name not in list_names():
        return None
    return BackboneSpec(
        name=name,
        build=lazy("zoo_timm.backbone:build", name),
        card=lazy("zoo_timm.pretrained:card", name),
        check_pretrained=lazy("zoo_timm.checks:check_pretrained", name),
        summary=f"timm's {name}",
        options=TimmOptions,
    )


def list_names() -> list[str]:
    """Returns all names, sorted: networks (``resnet18``), and networks with the tag of their weights.

    Reads them from the cache folder. Imports timm only if it was installed or updated since the last call.
    """
    version = importlib.metadata.version("timm")
    cache = home() / "timm-names.json"
    names = _read(cache, version)
    if names is None:
        names = _list_with_timm()
        # Without a cache, the next call takes seconds again, but nothing else is lost.
        with contextlib.suppress(OSError, RunError):
            _write(cache, version, names)
    return names


def _list_with_timm() -> list[str]:
    import timm

    return sorted({*timm.list_models(), *timm.list_models(include_tags=True)})


def _read(cache: Path, version: str) -> list[str] | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return list(content["names"]) if content["timm"] == version else None
    # Missing or damaged: it is written again.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(cache: Path, version: str, names: list[str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(cache) as temporary:
        temporary.write_text(json.dumps({"timm": version, "names": names}), encoding="utf-8")
