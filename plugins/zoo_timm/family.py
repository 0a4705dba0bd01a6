"""The family of timm's networks: their names and specs. Imports neither torch nor, once the names are cached, timm.

The zoo's cache folder holds the more than a thousand names, because timm takes seconds to import.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.plugins.calls import lazy
from zoo.plugins.specs import BackboneSpec
from zoo.utils.files import atomic_write
from zoo.utils.paths import home
from zoo_timm.cache import cached_repositories, is_cached
from zoo_timm.options import TimmOptions

if TYPE_CHECKING:
    from pathlib import Path

    from timm.models import PretrainedCfg

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
    return list(_read(_cache_file(), importlib.metadata.version("timm")) or ())


def list_local_names() -> list[str]:
    """Returns the names whose pretrained weights are in the cache of the Hugging Face Hub. Never imports timm.

    Before the names are cached, that is those of timm's own repositories, whose names are those of the networks.
    """
    cached = cached_repositories()
    if not cached:
        return []
    repositories = _read(_cache_file(), importlib.metadata.version("timm"))
    if repositories is None:
        repositories = {match[1]: match[0] for match in map(_REPOSITORY.fullmatch, sorted(cached)) if match}
    return [name for name, hub_id in repositories.items() if hub_id.partition("@")[0] in cached and is_cached(hub_id)]


def _repositories() -> dict[str, str]:
    """Returns the repository of the weights by name; empty for networks without weights on the Hub.

    Reads them from the cache folder. Imports timm only if it was installed or updated since the last call.
    """
    version, cache = importlib.metadata.version("timm"), _cache_file()
    repositories = _read(cache, version)
    if repositories is None:
        repositories = _list_with_timm()
        # Without a cache, the next call takes seconds again, but nothing else is lost.
        with contextlib.suppress(OSError, RunError):
            _write(cache, version, repositories)
    return repositories


def _cache_file() -> Path:
    return home() / "timm-names.json"


def _list_with_timm() -> dict[str, str]:
    import timm

    names = sorted({*timm.list_models(), *timm.list_models(include_tags=True)})
    return {name: _repository(timm.get_pretrained_cfg(name)) for name in names}


def _repository(cfg: PretrainedCfg | None) -> str:
    """Returns the repository of some weights; empty if their file has an unusual name, which `is_cached` ignores."""
    return str(cfg.hf_hub_id) if cfg is not None and cfg.hf_hub_id and not cfg.hf_hub_filename else ""


def _read(cache: Path, version: str) -> dict[str, str] | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        names = content["names"] if content["timm"] == version else None
    # Missing or damaged: it is written again.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return names if isinstance(names, dict) else None  # a list in files of the first version


def _write(cache: Path, version: str, repositories: dict[str, str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(cache) as temporary:
        temporary.write_text(json.dumps({"timm": version, "names": repositories}), encoding="utf-8")
