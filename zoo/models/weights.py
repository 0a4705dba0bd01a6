"""Reads weights from files and loads them into backbones, saying what fitted and what did not. Imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.plugins.servers import WEIGHTS_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.plugins.contracts import Backbone

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
# An average of the weights, where a checkpoint holds one, is what its training was evaluated with.
_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
# Put before every name by DistributedDataParallel, torch.compile and Lightning.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_RUN_PREFIX = "backbone."
# Under this share of the parameter values it is another network's file, whatever a few equal names say.
_ENOUGH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of the entries of a state dict.

    Attributes:
        source: Where the entries came from.
        loaded: Names, as the backbone has them, of what was loaded.
        skipped: Names, as the file has them, that have no place in the backbone; an output layer, say.
        missing: Names of the backbone that the file lacks; kept as they were initialised.
        mismatched: Name, the file's shape, the backbone's shape; kept as they were initialised.
    """

    source: str
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def summary(self) -> str:
        """Returns ``"120 entries loaded from f.pth; skipped: fc.weight, fc.bias"``."""
        parts = [f"{len(self.loaded)} entries loaded from {self.source}"]
        for word, names in (("skipped", self.skipped), ("missing", self.missing)):
            if names:
                parts.append(f"{word}: {_few(names)}")
        if self.mismatched:
            parts.append(f"of another shape: {_few(_describe_mismatches(self.mismatched))}")
        return "; ".join(parts)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a ``.safetensors`` file or of a pickled checkpoint, on the CPU, in the file's own types.

    A pickle is read with ``weights_only=True``: no code of its author runs. Checkpoints that nest the weights under
    ``state_dict``, ``model`` and the like are unwrapped (an average, ``state_dict_ema``, comes first), prefixes of
    DistributedDataParallel, torch.compile and Lightning taken off, entries other than tensors left out.

    Raises:
        WeightsError: There is no such file, it is no checkpoint, it is truncated, or it holds more than plain weights.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.", hint=f"Check the path. {WEIGHTS_HINT}")
    if path.suffix.lower() == ".safetensors":
        return _unwrap(_read_safetensors(path), path)
    if path.suffix.lower() in _PICKLES:
        return _unwrap(_read_pickle(path), path)
    raise WeightsError(
        f"{path} is not a weights file.", hint=f"Weights files end in .safetensors, {', '.join(_PICKLES)}."
    )


def load_backbone(backbone: Backbone, state: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Loads what fits of a state dict into a backbone; 16-bit values become float32.

    Understood are the original library's names (`Backbone.adapt_state_dict`), the backbone's own, and those of a
    whole model of this zoo (``backbone.*``, ``head.*``).

    Args:
        backbone: Changed in place.
        state: Names and tensors of any float type.
        source: Where they come from, for messages.

    Raises:
        WeightsError: Less than half of the backbone's parameter values are in the file; nothing was changed.
    """
    theirs = backbone.adapt_state_dict(_in_full(state))
    # Entries are laid over the backbone's own state dict: some networks refuse one without its version metadata.
    ours = backbone.state_dict()
    placed = {name: tensor for name, tensor in theirs.items() if name in ours}
    fitting = {name: tensor for name, tensor in placed.items() if tensor.shape == ours[name].shape}
    report = LoadReport(
        source=source,
        loaded=tuple(fitting),
        skipped=tuple(name for name in theirs if name not in ours),
        # A count of batches that old files lack and nothing reads.
        missing=tuple(name for name in ours if name not in placed and not name.endswith("num_batches_tracked")),
        mismatched=tuple(
            (name, tuple(tensor.shape), tuple(ours[name].shape))
            for name, tensor in placed.items()
            if name not in fitting
        ),
    )
    _require_enough(backbone, report, state)
    ours.update({name: tensor.to(ours[name].dtype) for name, tensor in fitting.items()})
    backbone.load_state_dict(ours)
    return report


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (safetensors.SafetensorError, OSError) as error:
        raise _unreadable(path, str(error)) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of unusual pickle protocols; what really cannot be read is an error below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"Unsupported (?:global|class): (?:GLOBAL )?(\S+)", str(error))
        if refused is None:
            raise _unreadable(path, "it is no pickled checkpoint") from error
        raise WeightsError(
            f"{path} holds {refused[1]} beside weights; reading it would run its author's code.",
            hint="Save the weights alone, where you trust the file: torch.save(model.state_dict(), 'weights.pth').",
        ) from error
    # What torch.load raises for a truncated or foreign file depends on where in it the damage is: almost anything.
    except Exception as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> WeightsError:
    first_line = reason.strip().partition("\n")[0].rstrip(".") or "it ends too early"
    return WeightsError(
        f"The weights file {path} cannot be read: {first_line}.",
        hint=f"It is truncated, or no such file ({path.stat().st_size} bytes); get it again.",
    )


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(content, dict) and (nest := next((n for n in _NESTS if isinstance(content.get(n), dict)), None)):
        content = content[nest]
    entries = content.items() if isinstance(content, dict) else ()
    state = {name: value for name, value in entries if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise WeightsError(
            f"{path} holds no named weights, but {type(content).__name__}.",
            hint="A weights file holds a state dict: torch.save(model.state_dict(), 'weights.pth').",
        )
    while prefix := next((p for p in _WRAPPERS if 2 * sum(name.startswith(p) for name in state) > len(state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _in_full(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Takes a run's prefix off and makes 16-bit values float32, so that embeddings are resized in full precision."""
    return {
        name.removeprefix(_RUN_PREFIX): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def _require_enough(backbone: Backbone, report: LoadReport, state: Mapping[str, Tensor]) -> None:
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    share = sum(sizes.get(name, 0) for name in report.loaded) / max(1, sum(sizes.values()))
    if share >= _ENOUGH:
        return
    if report.mismatched:
        why = f"shapes differ: {_few(_describe_mismatches(report.mismatched))}"
    else:
        why = f"the file lacks {_few(report.missing)}"
    raise WeightsError(
        f"{report.source} does not fit this backbone: it has {share:.0%} of the backbone's weights; {why}.",
        hint=f"It looks like the file of another network, whose weights begin with {_few(_shapes(state))}.",
    )


def _describe_mismatches(mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]) -> list[str]:
    return [f"{name} is {_by(theirs)} there and {_by(ours)} here" for name, theirs, ours in mismatched]


def _shapes(state: Mapping[str, Tensor]) -> list[str]:
    return [f"{name} ({_by(tuple(tensor.shape))})" for name, tensor in state.items()]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _few(names: tuple[str, ...] | list[str], *, limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
