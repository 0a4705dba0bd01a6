"""The pretrained weights of timm's networks: their properties, and their download. Imports timm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.data import resolve_data_config
from timm.models import PretrainedCfg, get_pretrained_cfg
from timm.models._hub import check_cached_file

from zoo.errors import WeightsError
from zoo.models.weights import read_state_dict
from zoo.plugins.servers import WEIGHTS_HINT, require_server
from zoo.plugins.specs import BackboneCard, WeightsInfo
from zoo.preprocess import Preprocess
from zoo.utils.text import first_line
from zoo_timm.cache import FILES

_RESIZE_MODES = {"center": "shorter", "border": "longer", "squash": "squash"}


def weights_config(name: str) -> PretrainedCfg:
    """Returns timm's config of a network's weights; without a tag in the name, of its default weights."""
    return get_pretrained_cfg(name) or PretrainedCfg()


def card(name: str) -> BackboneCard:
    """Returns the preprocessing and licence that timm states for a network's weights, without building the network.

    timm crops some squashed images (``crop_mode="squash"``, ``crop_pct`` below 1). A `Preprocess` does not crop them.
    """
    cfg = weights_config(name)
    data = resolve_data_config(pretrained_cfg=cfg.to_dict())
    height, width = data["input_size"][1:]
    return BackboneCard(
        preprocess=Preprocess(
            size=(height, width),
            # At least the crop: timm pads images with black if crop_pct is above 1.
            resize=max(height, width, math.floor(max(height, width) / data["crop_pct"])),
            resize_mode=_RESIZE_MODES[data["crop_mode"]],  # type: ignore[arg-type]
            interpolation="bicubic" if data["interpolation"] == "bicubic" else "bilinear",
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
        ),
        weights=_weights_info(cfg) if cfg.has_weights else None,
    )


def _weights_info(cfg: PretrainedCfg) -> WeightsInfo:
    source = f"{constants.ENDPOINT}/{cfg.hf_hub_id}" if cfg.hf_hub_id else str(cfg.url)
    return WeightsInfo(name=cfg.tag or "default", source=source, licence=cfg.license or "")


def fetch_weights(name: str) -> dict[str, Any]:
    """Downloads a network's pretrained weights unless they are cached.

    timm itself contacts the server even for cached weights, and takes most of a minute to fail.

    Returns:
        Overrides of the network's pretrained config that make timm load the local file.

    Raises:
        WeightsError: There are none, or they are neither in the cache nor can be downloaded.
    """
    cfg = weights_config(name)
    what = f"The pretrained weights of {name}"
    if cfg.hf_hub_id:
        path = _hub_file(cfg, what)
        if path.suffix != ".safetensors":
            read_state_dict(path)  # rejects a pickle that would run code
        return {"file": str(path), "custom_load": False}
    if cfg.url:
        if not check_cached_file(cfg.url):
            url = cfg.url if isinstance(cfg.url, str) else cfg.url[0]  # otherwise an address and a file name
            require_server(url, what=what)
        return {}
    raise WeightsError(f"timm has no pretrained weights for {name}.", hint=WEIGHTS_HINT)


def _hub_file(cfg: PretrainedCfg, what: str) -> Path:
    repository, _, revision = str(cfg.hf_hub_id).partition("@")
    files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else FILES
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{what} are not in the local cache, and HF_HUB_OFFLINE is set.", hint=WEIGHTS_HINT, offline=True
        )
    require_server(constants.ENDPOINT, what=what)
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
        except LocalEntryNotFoundError as error:
            raise _download_error(what, error) from error
        except EntryNotFoundError:
            continue  # the repository has its weights in another format
        # The Hub's transport, and so its exceptions, differ between versions.
        except Exception as error:
            raise _download_error(what, error) from error
    raise WeightsError(f"{what} are not in {repository}: it has no {' or '.join(map(str, files))}.", hint=WEIGHTS_HINT)


def _download_error(what: str, error: Exception) -> WeightsError:
    return WeightsError(f"{what} cannot be downloaded: {first_line(error)}.", hint=WEIGHTS_HINT, offline=True)
