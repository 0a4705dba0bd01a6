"""Resolves what the user passes as data, a path or the name of a dataset, without loading anything."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.images.formats import has_image_suffix
from zoo.data.sources.corrections import CorrectionTable, read_corrections
from zoo.data.sources.exclusions import read_exclusions
from zoo.data.sources.image_set import check_image_set
from zoo.data.sources.label_columns import TableOptions
from zoo.data.sources.layout import LAYOUTS
from zoo.errors import AmbiguousNameError, ConfigError, DataError, UnknownNameError
from zoo.plugins.kinds import DATASET
from zoo.plugins.options import make_options
from zoo.plugins.specs import UNSTORED, ImageSet
from zoo.utils.paths import cache_folder, has_file_suffix, missing_path_advice, parse_path, path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import DatasetSpec


_TEXT_SUFFIXES = (".tsv", ".tab", ".txt", ".dat", ".psv")
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
# The function of pandas that reads each kind of table.
_TABLE_READERS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "read_excel"),
    **dict.fromkeys((".parquet", ".pq"), "read_parquet"),
    **dict.fromkeys((".feather", ".arrow"), "read_feather"),
    **dict.fromkeys((".json", ".jsonl"), "read_json"),
    **dict.fromkeys((".pkl", ".pickle"), "read_pickle"),
    **dict.fromkeys((".h5", ".hdf5"), "read_hdf"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where a dataset comes from; `zoo.data.sources.load` loads it.

    Attributes:
        data: What the user passed: ``"hotdog"``, ``"./photos"``, an `ImageSet`.
        path: The folder or the CSV file; None for a dataset of a plugin, and for an `ImageSet`.
        offer: The dataset of a plugin; None for a path, and for an `ImageSet`.
        images: The `ImageSet` that the user passed, checked; None for anything else.
        options: An instance of the dataset's options, of `TableOptions` for a table; None for anything else.
        exclude: The exclusion list, or None.
        exclusions: The photos on that list, each with the reason.
        corrections: Labels that replace those of the data; None for none.
    """

    data: str | ImageSet
    path: Path | None = None
    offer: Offer[DatasetSpec] | None = None
    images: ImageSet | None = None
    options: Any = None
    exclude: Path | None = None
    exclusions: Mapping[str, str] = field(default_factory=dict)
    corrections: CorrectionTable | None = None

    @property
    def is_local(self) -> bool:
        """Whether the photos can be loaded without a network.

        Raises:
            PluginError: The plugin failed.
        """
        return self.offer is None or is_local(self.offer)

    @property
    def is_table(self) -> bool:
        """Whether the source is a CSV file."""
        return self.path is not None and self.path.suffix.lower() == ".csv" and not self.path.is_dir()


def resolve_data(
    data: str | os.PathLike[str] | ImageSet,
    *,
    registry: Registry,
    options: Mapping[str, Any],
    exclude: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> DataSource:
    """Finds the dataset, checks its options and reads the lists. Loads no photo and imports no torch.

    A path starts with ``.``, ``~`` or ``/``, ends with ``.csv``, or contains a separator and is not the qualified name
    of a dataset. Anything else is the name of a dataset first: ``./name`` is the folder of the same name.

    Args:
        data: ``"hotdog"``, ``"acme/cats"``, ``"./photos"``, ``"photos.csv"``, ``Path("photos")``; or an `ImageSet`.
        registry: Where datasets are looked up.
        options: Options of the dataset, as the user wrote them.
        exclude: A list of photos to leave out.
        labels: A file of labels that replace those of the data (`zoo.data.sources.corrections`).

    Raises:
        UnknownNameError: There is no dataset and no folder of that name.
        ConfigError: An option is unknown or has a wrong value, or `data` has another type.
        DataError: The path does not exist, the `ImageSet` is inconsistent, or a list cannot be read.
    """
    listed = None if exclude is None else parse_path(exclude)
    exclusions = {} if listed is None else read_exclusions(listed)
    corrections = None if labels is None else read_corrections(parse_path(labels))
    source = _find_source(data, registry, options)
    return dataclasses.replace(source, exclude=listed, exclusions=exclusions, corrections=corrections)


def _find_source(data: str | os.PathLike[str] | ImageSet, registry: Registry, options: Mapping[str, Any]) -> DataSource:
    if isinstance(data, ImageSet):
        _refuse_options(options, "An ImageSet")
        return DataSource(data=data, images=check_image_set(data))
    if isinstance(data, os.PathLike):
        data = path_text(data)
    if not isinstance(data, str):
        raise DataError(
            f"The data cannot be of type {type(data).__name__}.",
            hint="Pass the name of a dataset, a folder, a CSV file of path,label, or in Python a zoo.ImageSet.",
        )
    if data.startswith(UNSTORED):
        name = data.removeprefix(UNSTORED)
        raise DataError(
            f"The photos of '{name}' were passed in Python as a zoo.ImageSet, which is not stored.",
            hint="Pass the same zoo.ImageSet again in Python: data=images.",
        )
    offer = _find_offer(data, registry)
    if offer is not None:
        parsed = offer.make_options(options, owner=f"dataset {data}")
        return DataSource(data=data, offer=offer, options=parsed)
    source = DataSource(data=data, path=parse_path(data))
    if source.is_table:
        source = dataclasses.replace(source, options=make_options(TableOptions, options, owner=f"table {data}"))
    else:
        _refuse_options(options, f"{data} is a path and")
    if source.path is not None and not source.path.exists():
        kind = "file" if has_file_suffix(data) else "folder"
        hint = missing_path_advice(data) or "Check the path passed as data."
        raise DataError(f"The {kind} {source.path} does not exist.", hint=hint)
    if source.path is not None and source.path.is_file() and not source.is_table:
        raise _wrong_file(source.path)
    return source


def _wrong_file(path: Path) -> DataError:
    """Returns the error for a file that is neither a folder nor a CSV file, with what to do about its kind."""
    suffix, csv = path.suffix.lower(), path.with_suffix(".csv").name
    if suffix in _TEXT_SUFFIXES:
        return DataError(
            f"{path} does not end in .csv, as tables of photos do.",
            hint=f"Rename it to {csv}; its columns may be separated by commas, semicolons or tabs.",
        )
    if suffix in _TABLE_READERS:
        convert = f"pandas.{_TABLE_READERS[suffix]}('{path.name}').to_csv('{csv}', index=False)"
        return DataError(f"{path} is a table, but not a CSV file.", hint=f"Save it as CSV of path,label: {convert}.")
    if suffix in _ARCHIVE_SUFFIXES:
        return DataError(f"{path} is an archive.", hint="Unpack it, and pass the folder that contains the photos.")
    kind = "a single photo" if has_image_suffix(path.name) else "a file, but neither a folder nor a CSV file"
    return DataError(f"{path} is {kind}.", hint=LAYOUTS)


def _refuse_options(options: Mapping[str, Any], owner: str) -> None:
    if options:
        raise ConfigError(f"{owner} has no options, but got {', '.join(options)}.", hint="Leave them out.")


def dataset_folder(offer: Offer[DatasetSpec]) -> Path:
    """Returns the folder for the downloads of a dataset, which need not exist."""
    return cache_folder("datasets", offer.spec.name if offer.plugin.built_in else offer.name)


def is_local(offer: Offer[DatasetSpec]) -> bool:
    """Returns whether a dataset can be loaded without a network.

    Raises:
        PluginError: The plugin failed.
    """
    return bool(offer.call("looking for the photos of", offer.spec.is_local, dataset_folder(offer)))


def _find_offer(data: str, registry: Registry) -> Offer[DatasetSpec] | None:
    """Returns the dataset of a plugin that a name refers to, or None for a path."""
    parse_path(data)  # raises on text that is no valid path, and so no valid name either
    if not _may_be_name(data):
        return None
    try:
        return registry.find(DATASET, data)
    except AmbiguousNameError:
        raise
    except UnknownNameError as error:
        path = Path(data)
        if path.exists():
            return None
        known = ", ".join(offer.name for offer in registry.offers(DATASET))
        near = missing_path_advice(data)
        hint = " ".join(filter(None, (near, error.hint, f"The datasets: {known or 'none'}; or a folder: ./{data}")))
        raise UnknownNameError(f"{error.message} There is no folder {path} either.", hint=hint) from None


def _may_be_name(data: str) -> bool:
    if data.startswith((".", "~", "/")) or "\\" in data or has_file_suffix(data) or data.count("/") > 1:
        return False
    return bool(data) and not ("/" in data and Path(data).exists())
