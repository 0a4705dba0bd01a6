"""Reads files of weights, and loads them into backbones. Imports torch."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo.errors import WeightsError
from zoo.models.finite import find_bad_entries
from zoo.plugins.servers import WEIGHTS_HINT
from zoo.utils.fetch.unzip import open_zip
from zoo.utils.files import LFS_HINT, LFS_POINTER
from zoo.utils.paths import missing_path_advice
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.plugins.contracts import Backbone

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
# Averaged weights first: the training that wrote them evaluated the average.
_STATE_DICT_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
# Added to every name by DistributedDataParallel, torch.compile and Lightning.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.", "model.")
_RUN_PREFIX = "backbone."
# A file with a smaller share of the parameter values belongs to another network, even if some names are equal.
_MIN_SHARE = 0.5
# How files of other kinds begin: what they are, and what to do about them.
_SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it with 'gunzip' first."),
    (b"\x89HDF\r\n", "an HDF5 file, as written by Keras", "Convert it to a PyTorch state dict first."),
)
_PICKLE_SIGNATURES = (b"PK", b"\x80\x02")
_MAX_ENTRIES = 100_000  # of an archive of torch.save


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Which entries of a state dict were loaded into a backbone.

    Attributes:
        source: The origin of the entries, for messages.
        loaded: Names in the backbone of the loaded entries.
        skipped: Names in the file that the backbone does not have, such as those of an output layer.
        missing: Names in the backbone that the file does not have; they keep their initial values.
        mismatched: Name, shape in the file and shape in the backbone; they keep their initial values.
        adapted: How first convolutions were adapted to the channels of the backbone's images.
    """

    source: str
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    adapted: tuple[str, ...] = ()

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Names in the backbone that keep their initial values."""
        return (*self.missing, *(name for name, _, _ in self.mismatched))

    def describe(self, names: Sequence[str]) -> str:
        """Returns some of the unfilled names as text, with both shapes of those that differ."""
        shapes = dict(zip((name for name, _, _ in self.mismatched), _describe_mismatches(self.mismatched), strict=True))
        return shorten([shapes.get(name, name) for name in names])

    def summary(self) -> str:
        """Returns ``"120 entries loaded from f.pth; skipped: fc.weight, fc.bias"``."""
        parts = [f"{len(self.loaded)} entries loaded from {self.source}", *self.adapted]
        for outcome, names in (("skipped", self.skipped), ("missing", self.missing)):
            if names:
                parts.append(f"{outcome}: {shorten(names)}")
        if self.mismatched:
            parts.append(f"different shape: {shorten(_describe_mismatches(self.mismatched))}")
        return "; ".join(parts)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a ``.safetensors`` file or a pickled checkpoint, on the CPU, with the dtypes of the file.

    Pickles are read with ``weights_only=True``, which runs no code of their author. If the weights are nested under
    ``state_dict``, ``model`` or similar keys, they are unwrapped; averaged weights (``state_dict_ema``) take
    precedence. The prefixes of DistributedDataParallel, torch.compile and Lightning, and entries that are not tensors,
    are removed.

    Raises:
        WeightsError: There is no such file, it is not a checkpoint, it is truncated, or it contains more than weights.
    """
    if not path.is_file():
        hint = missing_path_advice(path) or f"Check the path. {WEIGHTS_HINT}"
        raise WeightsError(f"There is no weights file {path}.", hint=hint)
    if path.suffix.lower() == ".safetensors":
        return _unwrap(_read_safetensors(path), path)
    if path.suffix.lower() in _PICKLES:
        return _unwrap(_read_pickle(path), path)
    raise WeightsError(
        f"{path} is not a weights file.", hint=f"Weights files end in .safetensors, {', '.join(_PICKLES)}."
    )


def load_backbone(backbone: Backbone, state: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Loads the matching entries of a state dict into a backbone; 16-bit values become float32.

    A first convolution for another number of channels is adapted. The entries may have the names of the original
    library (see `Backbone.adapt_state_dict`), of the backbone, or of a classifier of this zoo (``backbone.*``,
    ``head.*``).

    Args:
        backbone: Changed in place.
        state: Tensors of any float dtype by name.
        source: The origin of the tensors, for messages.

    Raises:
        WeightsError: The file has less than half of the parameter values of the backbone, or values that are not
            finite. The backbone is not changed then.
    """
    theirs = backbone.adapt_state_dict(_normalise(state))
    # The entries update the state dict of the backbone, because some networks refuse one without version metadata.
    ours = backbone.state_dict()
    known = {name: tensor for name, tensor in theirs.items() if name in ours}
    adapted = _adapt_channels(backbone, known)
    fitting = {name: tensor for name, tensor in known.items() if tensor.shape == ours[name].shape}
    report = LoadReport(
        source=source,
        loaded=tuple(fitting),
        skipped=tuple(name for name in theirs if name not in ours),
        # Old files lack the number of batches, which nothing reads.
        missing=tuple(name for name in ours if name not in known and not name.endswith("num_batches_tracked")),
        mismatched=tuple(
            (name, tuple(tensor.shape), tuple(ours[name].shape))
            for name, tensor in known.items()
            if name not in fitting
        ),
        adapted=adapted,
    )
    _require_match(backbone, report, state)
    _require_finite(backbone, fitting, source)
    ours.update({name: tensor.to(ours[name].dtype) for name, tensor in fitting.items()})
    backbone.load_state_dict(ours)
    return report


def _require_finite(backbone: Backbone, entries: Mapping[str, Tensor], source: str) -> None:
    if bad := find_bad_entries(entries, backbone):
        raise WeightsError(
            f"{source} has weights that are not finite: {shorten(bad)}.",
            hint="The training that saved them diverged, or the file is damaged; use another one.",
        )


def _adapt_channels(backbone: Backbone, entries: dict[str, Tensor]) -> tuple[str, ...]:
    """Adapts first convolutions to the channels of the images of a backbone; returns a phrase about each.

    The weights of a grey channel are spread over red, green and blue, whose mean then has the effect of grey. A channel
    after the third, such as an alpha channel, is left out. For a backbone of grey images the weights are summed.

    Args:
        backbone: The backbone.
        entries: Entries by the names of the backbone; replaced where they are adapted.
    """
    phrases = []
    for path, module in backbone.named_modules():
        name = f"{path}.weight"
        theirs = entries.get(name)
        if theirs is None or not isinstance(module, nn.Conv2d) or module.groups > 1 or theirs.ndim != 4:
            continue
        found, wanted = theirs.shape[1], module.in_channels
        if (found, wanted) == (1, 3):
            adapted, how = theirs.repeat(1, 3, 1, 1) / 3, "spread over 3"
        elif (found, wanted) == (4, 3):
            adapted, how = theirs[:, :3], "cut to the first 3"
        elif (found, wanted) == (3, 1):
            adapted, how = theirs.sum(dim=1, keepdim=True), "summed"
        else:
            continue
        if adapted.shape == module.weight.shape:
            entries[name] = adapted
            phrases.append(f"input channels of {name}, {found} in the file: {how}")
    return tuple(phrases)


def unreadable_weights(path: Path, reason: str) -> WeightsError:
    """Returns the error for a file of weights that cannot be read.

    Args:
        path: The file. If it begins like a file of another kind, the message names that kind and what to do.
        reason: The message of the library that failed, for files of unknown content.
    """
    kind, hint = _identify(path)
    if kind:
        return WeightsError(f"{path} is {kind}, not a file of weights.", hint=hint)
    reason = reason.strip().partition("\n")[0].rstrip(".") or "it ends too early"
    return WeightsError(
        f"The weights file {path} cannot be read: {reason}.",
        hint=f"Copy or download it again: its {path.stat().st_size:,} bytes are truncated, or of another format.",
    )


def _identify(path: Path) -> tuple[str, str]:
    """Returns what a file that is not a file of weights contains, and what to do; empty if that is unknown."""
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip().lower()
    if not start:
        return "an empty file", "Copy or download it again."
    if start.startswith(LFS_POINTER):
        return "a Git LFS pointer", LFS_HINT
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page", "Its address is that of a page; download the file that the page links to."
    if _is_torchscript(path):
        command = f"torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pth')"
        return "a TorchScript program", f"Save its weights alone: {command}."
    if path.suffix.lower() == ".safetensors" and start.startswith(_PICKLE_SIGNATURES):
        return "a pickled checkpoint", "Rename it to end in .pth."
    if path.suffix.lower() != ".safetensors" and start[8:10] == b'{"':
        return "a safetensors file", "Rename it to end in .safetensors."
    if start[:1] == b"\x80" and start[1:2] not in b"\x02":  # torch writes protocol 2, of which it reads a safe part
        return "a pickle of another program", "Save the weights with torch: torch.save(state_dict, 'weights.pth')."
    return next(((kind, hint) for signature, kind, hint in _SIGNATURES if start.startswith(signature)), ("", ""))


def _is_torchscript(path: Path) -> bool:
    try:
        with open_zip(path, most=_MAX_ENTRIES) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (safetensors.SafetensorError, OSError) as error:
        raise unreadable_weights(path, str(error)) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch warns about unusual pickle protocols; files that it cannot read are errors below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    # torch.load raises almost anything for a truncated or foreign file, depending on where the damage is.
    except Exception as error:
        if (refused := _find_refused(error)) and not _identify(path)[0]:
            raise WeightsError(
                f"{path} contains {refused}; reading it would run code of its author.",
                hint="If you trust the file, save the weights alone: torch.save(model.state_dict(), 'weights.pth').",
            ) from error
        raise unreadable_weights(path, describe_pickle_error(error)) from error


def describe_pickle_error(error: Exception) -> str:
    """Returns why ``torch.load(weights_only=True)`` failed, without torch's advice to load the file unsafely."""
    if refused := _find_refused(error):
        return f"it contains {refused}, which could run code"
    reason = first_line(error)
    if "weights_only" in reason or isinstance(error, pickle.UnpicklingError):
        return "it is not a pickled checkpoint"
    return reason


def _find_refused(error: Exception) -> str:
    """Returns what ``torch.load(weights_only=True)`` refused in a pickle; empty if it failed for another reason."""
    match = re.search(r"[Uu]nsupported (?:global: GLOBAL|global:|GLOBAL|class:?) (\S+)", str(error))
    return f"{match[1]} besides weights" if match else ""


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(content, dict):
        key = next((key for key in _STATE_DICT_KEYS if isinstance(content.get(key), dict)), None)
        if key is None:
            break
        content = content[key]
    entries = content.items() if isinstance(content, dict) else ()
    state = {name: value for name, value in entries if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise WeightsError(
            f"{path} contains no named tensors, but {type(content).__name__}.",
            hint="A weights file contains a state dict: torch.save(model.state_dict(), 'weights.pth').",
        )
    while prefix := _common_prefix(state):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _common_prefix(state: Mapping[str, Tensor]) -> str:
    """Returns the prefix of a wrapper that most names have, or an empty string."""
    for prefix in _WRAPPER_PREFIXES:
        if 2 * sum(name.startswith(prefix) for name in state) > len(state):
            return prefix
    return ""


def _normalise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Removes the prefix of a run, and converts floats to float32, so that embeddings are resized in full precision."""
    return {
        name.removeprefix(_RUN_PREFIX): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def _require_match(backbone: Backbone, report: LoadReport, state: Mapping[str, Tensor]) -> None:
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    share = sum(sizes.get(name, 0) for name in report.loaded) / max(1, sum(sizes.values()))
    if share >= _MIN_SHARE:
        return
    if report.mismatched:
        reason = f"shapes differ: {shorten(_describe_mismatches(report.mismatched))}"
    else:
        reason = f"the file lacks {shorten(report.missing)}"
    tensors = [f"{name} ({_format_shape(tuple(tensor.shape))})" for name, tensor in state.items()]
    raise WeightsError(
        f"{report.source} does not fit this backbone: it has {share:.0%} of the backbone's weights; {reason}.",
        hint=f"It seems to belong to another network; it contains {shorten(tensors)}.",
    )


def _describe_mismatches(mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]) -> list[str]:
    return [
        f"{name} is {_format_shape(theirs)} in the file and {_format_shape(ours)} in the backbone"
        for name, theirs, ours in mismatched
    ]


def _format_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def shorten(names: Sequence[str], *, limit: int = 3) -> str:
    """Returns the first of some names, and how many more there are: ``"a, b, c and 5 more"``."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
