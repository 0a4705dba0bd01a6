"""The cache of the Hugging Face Hub, in which timm keeps weights. Imports neither torch nor timm.

`huggingface_hub.try_to_load_from_cache` gives the same answers, but takes a tenth of a second to import.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants

FILES = ("model.safetensors", "pytorch_model.bin")


def is_cached(hub_id: str) -> bool:
    """Returns whether the cache contains the weights of a repository.

    Args:
        hub_id: ``"timm/resnet18.a1_in1k"``, or with a revision ``"timm/resnet18.a1_in1k@main"``; empty for none.
    """
    repository, _, revision = hub_id.partition("@")
    folder = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
    revision = revision or "main"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # no such branch: the revision may be a commit
        commit = revision
    return bool(repository) and any((folder / "snapshots" / commit / file).is_file() for file in FILES)


def cached_repositories() -> set[str]:
    """Returns the repositories of which the cache contains anything: ``{"timm/resnet18.a1_in1k"}``."""
    try:
        folders = [folder.name for folder in Path(constants.HF_HUB_CACHE).iterdir()]
    except OSError:  # there is no cache yet
        return set()
    # The Hub allows no double hyphens in names.
    parts = [folder.split("--") for folder in folders]
    return {f"{part[1]}/{part[2]}" for part in parts if len(part) == 3 and part[0] == "models"}
