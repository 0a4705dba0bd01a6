"""What a run records of the familiarity of photos, and the file with its prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

PROTOTYPES = "familiarity.safetensors"  # in a run folder
_TENSOR = "prototypes"
_MAX_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class FamiliarityRecord:
    """How the familiarity of a photo is computed and judged (`zoo.models.prototypes`).

    Attributes:
        threshold: The familiarity from which a photo counts as one of the classes.
        share: The share of photos of the classes that reach it.
        photos: Number of validation photos that it was chosen on.
        prototypes: Number of prototypes.
        width: Length of a feature vector.
        neighbours: Number of nearest prototypes that the score is the mean of.
    """

    threshold: float
    share: float
    photos: int
    prototypes: int
    width: int
    neighbours: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FamiliarityRecord:
        """Returns the record for plain values, which may be anything; ignores fields that it does not know.

        Raises:
            ValueError: A value is missing, or has another type or range.
        """
        threshold, share = (_number(values, name) for name in ("threshold", "share"))
        counts = {name: _count(values, name) for name in ("photos", "prototypes", "width", "neighbours")}
        if not (-1.01 <= threshold <= 1.01 and 0 < share < 1):
            raise ValueError("'threshold' or 'share' is out of range")
        return cls(threshold=threshold, share=share, **counts)


def write_prototypes(folder: Path, prototypes: NDArray[np.float16]) -> None:
    """Writes the prototypes of a run, float16 ``(K, D)``, atomically.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    from safetensors.numpy import save

    content = save({_TENSOR: prototypes})
    with atomic_write(folder / PROTOTYPES) as temporary:
        temporary.write_bytes(content)


def read_prototypes(folder: Path, record: FamiliarityRecord) -> NDArray[np.float16]:
    """Returns the prototypes of a run, float16 ``(K, D)``.

    Raises:
        RunError: The file is missing or broken, or does not fit the record of the run.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / PROTOTYPES
    hint = "Restore the file, or train the run again; without 'familiarity' in run.json the run works without it."
    try:
        prototypes = load(read_regular_file(path, max_bytes=_MAX_BYTES))[_TENSOR]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint=hint) from error
    expected = (record.prototypes, record.width)
    if prototypes.dtype != np.float16 or prototypes.shape != expected or not np.isfinite(prototypes).all():
        raise RunError(f"{path} does not contain {expected} finite numbers of float16.", hint=hint)
    return prototypes


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    if type(value) not in (int, float):
        raise ValueError(f"'{name}' is not a number")
    return float(value)  # type: ignore[arg-type]


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"'{name}' is not a whole number above 0")
    return value
