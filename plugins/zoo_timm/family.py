"""The family of timm's networks: their names and specs. Imports neither torch nor, once the names are cached, timm.

The zoo's cache folder holds the more than a thousand names, because timm takes seconds to import.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo.plugins.calls import lazy
from zoo.plugins.specs import BackboneSpec
from zoo_timm.cache import cached_repositories, is_cached
from zoo_timm.name_cache import find_names, read_names
from zoo_timm.options import TimmOptions

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

_FILE = "timm-names.json"
_REPOSITORY = re.compile(r"timm/([a-z0-9_]+\.[a-z0-9_.\-]+)")


def resolve(name: str) -> BackboneSpec | None:
    """Returns the spec of one of timm's names (``resnet50d``, ``resnet18.a1_in1k``), or None."""
    repositories = _repositories()
    if name not in repositories:
        return None
    return BackboneSpec(
        name=name,
        build=lazy("zoo_timm.backbone:build", name),
        card=lazy("zoo_timm.pretrained:card", name),
        check_pretrained=lazy("zoo_timm.checks:check_pretrained", name),
        is_local=lazy("zoo_timm.cache:is_cached", repositories[name]),
        all_options=lazy("zoo_timm.arguments:all_options", name),
        summary=f"timm's {name}",
        options=TimmOptions,
    )


def list_names() -> list[str]:
    """Returns all names, sorted: networks (``resnet18``), and networks with the tag of their weights."""
    return list(_repositories())


def list_known_names() -> list[str]:
    """Returns all names if the cache folder holds them, otherwise none. Never imports timm."""
    return list(read_names(_FILE) or ())


def list_local_names() -> list[str]:
    """Returns the names whose pretrained weights are in the cache of the Hugging Face Hub. Never imports timm.

    Before the names are cached, that is those of timm's own repositories, whose names are those of the networks.
    """
    cached = cached_repositories()
    if not cached:
        return []
    repositories = read_names(_FILE)
    if repositories is None:
        repositories = {match[1]: match[0] for match in map(_REPOSITORY.fullmatch, sorted(cached)) if match}
    return [name for name, hub_id in repositories.items() if hub_id.partition("@")[0] in cached and is_cached(hub_id)]


def _repositories() -> dict[str, str]:
    """Returns the repository of the weights by name; empty for networks without weights on the Hub.

    Imports timm only if it was installed or updated since the last call.
    """
    return find_names(_FILE, _list_with_timm)


def _list_with_timm() -> dict[str, str]:
    import timm

    names = sorted({*timm.list_models(), *timm.list_models(include_tags=True)})
    return {name: _repository(timm.get_pretrained_cfg(name)) for name in names}


def _repository(cfg: PretrainedCfg | None) -> str:
    """Returns the repository of some weights; empty if their file has an unusual name, which `is_cached` ignores."""
    return str(cfg.hf_hub_id) if cfg is not None and cfg.hf_hub_id and not cfg.hf_hub_filename else ""
