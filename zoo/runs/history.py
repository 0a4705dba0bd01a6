"""The epochs of a run as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoo.plugins.distributions import missing_package
from zoo.utils.markup import block, table

if TYPE_CHECKING:
    import pandas as pd

# The columns that a notebook shows, each with its title and number of digits; percentages have None.
_COLUMNS = {
    "train_loss": ("loss", 3),
    "train_accuracy": ("accuracy", None),
    "val_loss": ("val loss", 3),
    "val_accuracy": ("val acc", None),
    "learning_rate": ("rate", 6),
    "seconds": ("seconds", 1),
}


class History(list[dict[str, Any]]):
    """The results of the epochs: a list of dicts, each with the fields of `zoo.events.EpochResult`.

    Epoch 0 is the linear probe before fine-tuning. Values that are not finite are None. A notebook shows a table.
    """

    def to_pandas(self) -> pd.DataFrame:
        """Returns the epochs as a table of pandas, with the epoch as its index.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise missing_package("A table of pandas needs pandas, which is not installed.") from None
        frame = pd.DataFrame(list(self))
        return frame.set_index("epoch") if "epoch" in frame else frame

    def _repr_html_(self) -> str:
        rows = [(_name(row), *(_format(row.get(key), digits) for key, (_, digits) in _COLUMNS.items())) for row in self]
        header = ("epoch", *(title for title, _ in _COLUMNS.values()))
        return block(table(header, rows, right=range(1, len(header))))


def _name(row: dict[str, Any]) -> str:
    return f"{row['epoch'] or 'probe'}{' *' if row.get('best') else ''}"


def _format(value: Any, digits: int | None) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f} %" if digits is None else f"{value:.{digits}f}"
