"""From what the user wrote as data, a path or a dataset's name, to an `ImageSet`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.sources.folder import read_folder
from zoo.data.sources.table import read_csv
from zoo.errors import AmbiguousNameError, ConfigError, PluginError, UnknownNameError
from zoo.events import no_progress
from zoo.plugins.options import make_options
from zoo.plugins.registry import ask_plugin
from zoo.plugins.specs import DatasetRequest, ImageSet, Sample
from zoo.utils.paths import dataset_folder, typed_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.events import Progress
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import DatasetSpec


def load_images(
    data: str,
    *,
    registry: Registry,
    options: Mapping[str, str],
    progress: Progress = no_progress,
    strict: bool = True,
) -> ImageSet:
    """Reads a folder or a CSV file, or asks the plugin that offers a dataset of this name.

    A path is what starts with ``.`` or ``~``, ends with ``.csv``, or holds a separator and is not the qualified name
    of a dataset. Anything else is first a dataset's name: a folder of the same name is reached as ``./name``.

    Args:
        data: ``"hotdog"``, ``"acme/cats"``, ``"./photos"``, ``"photos.csv"``.
        registry: Where datasets are looked up.
        options: The dataset's options, as they were typed.
        progress: Called while something slow happens.
        strict: Whether to refuse a folder or a CSV file that cannot be trained on; see `zoo.data.sources.folder.build`.

    Raises:
        UnknownNameError: Neither a dataset nor a path.
        ConfigError: An unknown or wrong option.
        DataError: The data cannot be had or makes no sense.
        PluginError: The plugin that offers it fails.
    """
    offer = _offer(data, registry)
    if offer is None:
        return _read_path(data, options, strict=strict)
    request = DatasetRequest(
        cache=dataset_folder(_cache_name(offer.name, built_in=offer.plugin.built_in)),
        options=make_options(offer.spec.options, options, owner=f"dataset {data}"),
        progress=progress,
    )
    images = ask_plugin(offer.plugin, f"loading '{offer.spec.name}'", lambda: offer.spec.load(request))
    _check_answer(images, offer.name)
    if Path(data).exists():
        note = f"{images.note} This is the dataset '{data}', not the folder of that name, which is ./{data}".strip()
        return dataclasses.replace(images, note=note)
    return images


def _check_answer(images: object, name: str) -> None:
    if not isinstance(images, ImageSet):
        raise PluginError(f"{name}: load returned {type(images).__name__}, not a zoo.ImageSet.")
    for sample in (*images.train, *images.val, *images.test):
        if not isinstance(sample, Sample):
            raise PluginError(f"{name}: a part holds {type(sample).__name__}, not zoo.Sample.")
        if not 0 <= sample.label < (count := len(images.classes)):
            raise PluginError(f"{name}: the label of {sample.name} is {sample.label}, of {count} classes.")


def check_data(data: str, *, registry: Registry, options: Mapping[str, str]) -> None:
    """Checks what `load_images` will be asked, as far as that goes without reading a photo; raises as it does."""
    offer = _offer(data, registry)
    if offer is not None:
        make_options(offer.spec.options, options, owner=f"dataset {data}")
    elif options or not typed_path(data).exists():
        _read_path(data, options)


def path_of(data: str, registry: Registry) -> Path | None:
    """Returns the absolute path that `load_images` reads, or None where it asks a plugin; raises as it does."""
    return typed_path(data).absolute() if _offer(data, registry) is None else None


def _offer(data: str, registry: Registry) -> Offer[DatasetSpec] | None:
    """Returns the offer that a name means, or None for a path."""
    typed_path(data)  # what cannot be one cannot be a name either
    if not _is_name(data):
        return None
    try:
        return registry.dataset(data)
    except AmbiguousNameError:
        raise
    except UnknownNameError as error:
        path = Path(data)
        if path.exists():
            return None
        known = ", ".join(offer.name for offer in registry.datasets())
        hint = f"{error.hint} The datasets: {known or 'none'}; or a folder: ./{data}".strip()
        raise UnknownNameError(f"{error.message} And there is no folder {path}.", hint=hint) from None


def _is_name(data: str) -> bool:
    if data.startswith((".", "~", "/")) or "\\" in data or data.lower().endswith(".csv") or data.count("/") > 1:
        return False
    return bool(data) and not ("/" in data and Path(data).exists())


def _read_path(data: str, options: Mapping[str, str], *, strict: bool = True) -> ImageSet:
    if options:
        raise ConfigError(f"{data} is a path and has no options, but got {', '.join(options)}.", hint="Leave them out.")
    path = typed_path(data)
    read = read_csv if path.suffix.lower() == ".csv" and not path.is_dir() else read_folder
    return read(path, strict=strict)


def _cache_name(qualified: str, *, built_in: bool) -> str:
    return qualified.rpartition("/")[2] if built_in else qualified
