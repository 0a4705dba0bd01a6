"""Adds an exported file to a model repository of NVIDIA's Triton inference server: configuration, labels, versions.

The layout is described at https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_repository.html,
the configuration is a `ModelConfig` of https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto.
"""

from __future__ import annotations

import importlib.resources
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, ExportError
from zoo.utils.files import atomic_write
from zoo_export.model_card import DECISIONS, PIXELS
from zoo_export.runtime.predictor import load
from zoo_export.targets.options import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo_export.model_card import InputKind, ModelCard

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
CLIENT = "client.py"
_CONFIG, _LABELS, _MODEL = "config.pbtxt", "labels.txt", "model.onnx"
# How long a request waits for others to share its batch: little compared with the time of a network.
_DELAY_MICROSECONDS = 500
_CLIENT_CLASSES = 3  # how many classes the example client prints


def write_triton(file: Path, repository: Path, *, name: str, max_batch: int = MAX_BATCH) -> Path:
    """Adds an exported file to a model repository, as the next version of a model.

    Args:
        file: A file of ``zoo export`` that takes raw pixels.
        repository: The folder that Triton is started with (``--model-repository``); created if it is missing.
        name: The name of the model for clients.
        max_batch: How many photos Triton may compute at once. Only photos of the same size share a batch.

    Returns:
        The folder of the new version: ``repository/name/1``.

    Raises:
        ConfigError: The name cannot be used for a folder and in an address.
        ExportError: The file does not take raw pixels, or cannot be opened; the name of a class is not a single line;
            the model has versions with other classes; the repository is not writable.
    """
    predictor = load(file, device="cpu")
    check_triton(repository, name=name, input=predictor.card.input, classes=predictor.classes)
    outputs = {value.name: value.shape[1:] for value in predictor.session.runtime.get_outputs()}
    folder = repository / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _LABELS, _label_lines(predictor.classes))
        _write(folder / _CONFIG, config_text(predictor.card, outputs, name=name, max_batch=max_batch))
        _write(folder / CLIENT, _client_text(name, min(_CLIENT_CLASSES, len(predictor.classes))))
        return _add_version(file, folder)
    except OSError as error:
        raise ExportError(
            f"Cannot write to {folder}: {error.strerror or error}.",
            hint="Choose another folder: 'zoo export RUN DIR --to triton'.",
        ) from error


def check_triton(repository: Path, *, name: str, input: InputKind, classes: Sequence[str]) -> None:
    """Checks everything that can be checked before the export; arguments and errors are those of `write_triton`."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not a valid model name.", hint="Use letters, digits and _ . - in --name.")
    if input != "pixels":
        raise ExportError(
            "The file takes normalised tensors, which clients of Triton do not send.", hint="Pass --input pixels."
        )
    for label in classes:
        if not label.isprintable():
            raise ExportError(
                f"The class {label!r} cannot be a line of {_LABELS}.", hint="Rename the class and train again."
            )
    labels = repository / name / _LABELS
    try:
        differs = labels.is_file() and labels.read_text(encoding="utf-8", errors="replace") != _label_lines(classes)
    except OSError as error:
        raise ExportError(f"{labels} cannot be read: {error.strerror}.", hint="Choose another --name.") from error
    if differs:
        raise ExportError(f"{labels.parent} already serves other classes.", hint="Choose another --name.")


def config_text(card: ModelCard, outputs: dict[str, list[int | str]], *, name: str, max_batch: int) -> str:
    """Returns the content of ``config.pbtxt``.

    Args:
        card: The card of the file.
        outputs: Name and shape of each output, without the batch; a variable length is text.
        name: The name of the model.
        max_batch: At least 1.
    """
    height, width = card.preprocess.size
    listed = "".join(_output(output, shape) for output, shape in outputs.items())
    return f"""\
# Raw photos in, uint8 RGB (height, width, 3) of any size; the preprocessing is inside the model.
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch}
input [
  {{
    name: "{PIXELS}"
    data_type: TYPE_UINT8
    dims: [ -1, -1, 3 ]
  }}
]
output [{listed.rstrip(",")}
]
# Photos of the same size that arrive within this time share a batch.
dynamic_batching {{
  max_queue_delay_microseconds: {_DELAY_MICROSECONDS}
}}
# The first request is as fast as all others.
model_warmup [
  {{
    name: "one black photo"
    batch_size: 1
    inputs {{
      key: "{PIXELS}"
      value {{
        data_type: TYPE_UINT8
        dims: [ {height}, {width}, 3 ]
        zero_data: true
      }}
    }}
  }}
]
"""


def _output(name: str, shape: Sequence[int | str]) -> str:
    dims = ", ".join(str(length if isinstance(length, int) else -1) for length in shape)
    if not shape:  # one number for each photo, which Triton cannot declare otherwise
        dims = "1"
    scalar = "" if shape else "\n    reshape: { shape: [ ] }"
    labels = f'\n    label_filename: "{_LABELS}"' if name == "probabilities" else ""
    return f"""
  {{
    name: "{name}"
    data_type: {"TYPE_UINT8" if name == DECISIONS else "TYPE_FP32"}
    dims: [ {dims} ]{scalar}{labels}
  }},"""


def _label_lines(classes: Sequence[str]) -> str:
    return "".join(f"{label}\n" for label in classes)


def _client_text(name: str, count: int) -> str:
    template = importlib.resources.files("zoo_export.targets").joinpath("templates", "triton_client.py.txt")
    return template.read_text(encoding="utf-8").replace("@name@", name).replace("@count@", str(count))


def _add_version(file: Path, folder: Path) -> Path:
    """Copies a file to the folder of the next version, which appears complete: Triton may be watching."""
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    version = folder / str(max(versions, default=0) + 1)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".next-"))
    try:
        shutil.copyfile(file, temporary / _MODEL)
        temporary.chmod(0o755)
        return temporary.rename(version)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
