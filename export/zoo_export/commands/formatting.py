"""The reports of a model card, as text. Cards are untrusted: any mapping gives a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def format_parity(parity: Mapping[str, Any]) -> str:
    """Returns the comparison of a file with its run, in one line."""
    if parity.get("verified") is not True:
        return "no: the file was never compared with its run"
    photos, providers = parity.get("photos"), parity.get("providers")
    batches = ", ".join(map(str, _list(parity.get("batches"))))
    reports = "; ".join(_format_provider(each) for each in _list(providers) if isinstance(each, dict))
    tolerance = parity.get("tolerance")
    limit = "" if tolerance is None else f" (tolerance {_number(tolerance)})"
    return f"{photos} photos, in batches of {batches}: {reports}{limit}"


def format_gain(quantisation: Mapping[str, Any] | None) -> str:
    """Returns accuracy and speed of a reduced precision, in one line; an empty string for fp32."""
    if quantisation is None:
        return ""
    before, after, speedup = (quantisation.get(key) for key in ("fp32_accuracy", "accuracy", "speedup"))
    photos = quantisation.get("photos", "?")
    text = f"accuracy {_percent(after)} on {photos} photos (fp32: {_percent(before)})"
    if isinstance(possible := quantisation.get("points_possible"), int | float):  # absent in files of earlier versions
        same, mean = quantisation.get("same_top1"), quantisation.get("mean_difference")
        text += (
            f"; a drop of up to {max(0.0, possible):.1f} points cannot be excluded with {photos} photos; "
            f"the same class in {same}, probabilities within {_number(mean)} on average"
        )
    busy = " (measured while other work ran)" if quantisation.get("busy") is True else ""
    return f"{text}; {_number(speedup)} times the throughput on {_provider_name(quantisation)}{busy}"


def _format_provider(report: Mapping[str, Any]) -> str:
    decisions, top1 = report.get("same_decisions"), report.get("same_top1")
    same = f"the same class in {top1}" if decisions is None else f"the same labels in {decisions}"
    if (known := report.get("same_known")) is not None:
        same += f", as familiar in {known}"
    return (
        f"{_provider_name(report)}: {same} of {report.get('compared')}, "
        f"logits within {_number(report.get('max_difference'))}"
    )


def _provider_name(report: Mapping[str, Any]) -> str:
    return str(report.get("provider", "?")).removesuffix("ExecutionProvider")


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "?"


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _number(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else "?"
