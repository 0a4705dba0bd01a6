"""A card in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def parity_told(parity: Mapping[str, Any]) -> str:
    """Returns what a file says of its comparison with the run, in one line; any mapping is survived."""
    if parity.get("verified") is not True:
        return "no: it was never compared with its run"
    photos, providers = parity.get("photos"), parity.get("providers")
    listed = ", ".join(map(str, _list(parity.get("batches"))))
    told = [_provider_told(each) for each in _list(providers) if isinstance(each, dict)]
    return (
        f"{photos} photos, in batches of {listed}: {'; '.join(told)} (passes up to {_number(parity.get('tolerance'))})"
    )


def gain_told(quantisation: Mapping[str, Any] | None) -> str:
    """Returns what lower precision costs and brings, in one line; empty for fp32; any mapping is survived."""
    if quantisation is None:
        return ""
    before, after, speedup = (quantisation.get(key) for key in ("fp32_accuracy", "accuracy", "speedup"))
    photos = quantisation.get("photos", "?")
    provider = str(quantisation.get("provider", "?")).removesuffix("ExecutionProvider")
    return (
        f"validation accuracy {_percent(after)} on {photos} photos, in fp32 {_percent(before)}; "
        f"{_number(speedup)} times as many photos a second on {provider}"
    )


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "?"


def _provider_told(report: Mapping[str, Any]) -> str:
    name = str(report.get("provider", "?")).removesuffix("ExecutionProvider")
    return (
        f"{name} {report.get('same_top1')} of {report.get('compared')} the same class, "
        f"logits within {_number(report.get('max_difference'))}"
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _number(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else "?"
