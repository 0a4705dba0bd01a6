"""The pretrained weights of timm's networks: what they are, and getting them within seconds or not at all."""

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

_RESIZE_MODES = {"center": "shorter", "border": "longer", "squash": "squash"}
_FILES = ("model.safetensors", "pytorch_model.bin")


def config(name: str) -> PretrainedCfg:
    """Returns what timm knows of a network's weights; for a name without tag, of its default weights."""
    return get_pretrained_cfg(name) or PretrainedCfg()


def card(name: str) -> BackboneCard:
    """Returns the preprocessing and the licence of a network's weights, as timm states them; builds no network.

    timm crops some squashed images (``crop_mode="squash"``, ``crop_pct`` below 1); a `Preprocess` shows them whole.
    """
    cfg = config(name)
    data = resolve_data_config(pretrained_cfg=cfg.to_dict())
    height, width = data["input_size"][1:]
    return BackboneCard(
        preprocess=Preprocess(
            size=(height, width),
            # At least the crop: timm fills what a crop_pct above 1 leaves over with black.
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


def fetch(name: str) -> dict[str, Any]:
    """Makes sure that a network's pretrained weights are on this machine.

    timm's own way asks the network even for weights that are cached, and takes most of a minute to give up.

    Returns:
        What to lay over the network's pretrained config, so that timm loads them from where they are.

    Raises:
        WeightsError: There are none, or they are not in the cache and cannot be downloaded.
    """
    cfg = config(name)
    what = f"The pretrained weights of {name}"
    if cfg.hf_hub_id:
        path = _hub_file(cfg, what)
        if path.suffix != ".safetensors":
            read_state_dict(path)  # refuses a pickle that would run code
        return {"file": str(path), "custom_load": False}
    if cfg.url:
        if not check_cached_file(cfg.url):
            url = cfg.url if isinstance(cfg.url, str) else cfg.url[0]  # or an address and a file name
            require_server(url, what=what, hint=WEIGHTS_HINT)
        return {}
    raise WeightsError(f"timm has no pretrained weights for {name}.", hint=WEIGHTS_HINT)


def _hub_file(cfg: PretrainedCfg, what: str) -> Path:
    repository, _, revision = str(cfg.hf_hub_id).partition("@")
    files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else _FILES
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{what} are not in the local cache, and HF_HUB_OFFLINE is set.", hint=WEIGHTS_HINT)
    require_server(constants.ENDPOINT, what=what, hint=WEIGHTS_HINT)
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
        except LocalEntryNotFoundError as error:
            raise WeightsError(f"{what} cannot be downloaded: {_first_line(error)}.", hint=WEIGHTS_HINT) from error
        except EntryNotFoundError:
            continue  # the repository is there, and has its weights in another format
        # The hub's transport, and with it what it raises, differs between its versions.
        except Exception as error:
            raise WeightsError(f"{what} cannot be downloaded: {_first_line(error)}.", hint=WEIGHTS_HINT) from error
    raise WeightsError(f"{what} are not in {repository}: no {' or '.join(map(str, files))} there.", hint=WEIGHTS_HINT)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
