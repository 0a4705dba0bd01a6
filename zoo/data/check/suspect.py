"""A photo whose label may be wrong, with what it looks like. Does not import NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.plugins.specs import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A photo whose label is probably wrong.

    Attributes:
        rank: From 1, the most suspicious.
        sample: The photo.
        split: ``"train"``, ``"val"`` or ``"test"``.
        label: Name of the class that it is labelled as.
        suggested: Name of the class that it looks like.
        label_probability: The probability of the label, predicted without the photo.
        suggested_probability: That of the class that it looks like.
    """

    rank: int
    sample: Sample
    split: str
    label: str
    suggested: str
    label_probability: float
    suggested_probability: float

    @property
    def name(self) -> str:
        """The name of the photo in its dataset."""
        return self.sample.name

    @property
    def reason(self) -> str:
        """A sentence: ``"looks like truck (0.93); labelled car (0.02)"``."""
        return (
            f"looks like {self.suggested} ({self.suggested_probability:.2f}); "
            f"labelled {self.label} ({self.label_probability:.2f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        fields = ("rank", "name", "split", "label", "suggested", "label_probability", "suggested_probability", "reason")
        return {name: getattr(self, name) for name in fields}
