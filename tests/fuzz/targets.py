"""The readers of untrusted files: for each, valid files to mutate, and the function that reads them."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import exports, photos, runs
from fuzz.audit import AuditMonitor
from fuzz.mutations import (
    Mutation,
    mutate_bytes,
    mutate_json,
    mutate_lines,
    mutate_members,
    mutate_png,
    mutate_safetensors,
)
from run_files import VALID_FILES, make_untrained_run

from zoo.errors import ZooError
from zoo.runs.record import PHOTOS, RECORD
from zoo.runs.run import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MONITOR = AuditMonitor()


@dataclass(frozen=True)
class Target:
    """A reader to fuzz.

    Attributes:
        make_seeds: Creates valid files.
        read: Reads the content of a file, given an empty folder to work in. Any exception other than a `ZooError` is a
            finding, and so is any access outside that folder.
        mutate: Mutates a file.
    """

    make_seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutation = mutate_bytes

    @functools.cached_property
    def seeds(self) -> Sequence[bytes]:
        """The valid files, created once."""
        return self.make_seeds()


TARGETS = {
    "image": Target(photos.images, photos.decode_whole, mutate_png),
    "image draft": Target(photos.images, photos.decode_draft, mutate_png),
    "image header": Target(photos.images, photos.read_header_only, mutate_png),
    "run.json": Target(lambda: [json.dumps(VALID_FILES[RECORD]).encode()], runs.read_record, mutate_json),
    "photos.json": Target(lambda: [json.dumps(VALID_FILES[PHOTOS]).encode()], runs.read_photos, mutate_json),
    "run": Target(lambda: [make_untrained_run()[1]], runs.load_run, mutate_json),
    "metrics.jsonl": Target(
        lambda: [json.dumps(VALID_FILES[METRICS]).encode() + b"\n"], runs.read_metrics, mutate_lines
    ),
    "manifest.json": Target(
        lambda: [json.dumps(VALID_FILES["manifest.json"]).encode()], runs.read_manifest, mutate_json
    ),
    "tags.json": Target(lambda: [json.dumps(VALID_FILES["tags.json"]).encode()], runs.read_tags, mutate_json),
    "model.safetensors": Target(runs.weights, runs.read_weights, mutate_safetensors),
    "checkpoint.pt": Target(runs.pickles, runs.read_checkpoint, mutate_members),
    "weights.pth": Target(runs.pickles, runs.read_pickle, mutate_members),
    "card": Target(exports.cards, exports.read_card, mutate_json),
    "onnx inspect": Target(
        lambda: [*exports.graphs(), *exports.pt2_archives()], exports.inspect_file, exports.mutate_onnx
    ),
    "onnx load": Target(exports.graphs, exports.load_and_predict, exports.mutate_onnx),
    "onnx external data": Target(exports.graphs_with_external_data, exports.find_external_data, mutate_bytes),
    "archive": Target(photos.archives, photos.unpack, mutate_members),
    "archive of photos": Target(photos.photo_archives, photos.read_photo_archive, mutate_members),
    "table": Target(lambda: [b"path,label,split\n1.png,a,train\n2.png,b,train\n"], photos.read_table, mutate_bytes),
    "dataset name": Target(photos.names, photos.read_dataset, mutate_bytes),
}


def mutate_case(target: Target, name: str, seed: int, number: int) -> bytes:
    """Returns the mutated file of a case, which depends only on the target's name, the seed and the number."""
    rng = random.Random(f"{name} {seed} {number}")
    return target.mutate(rng, rng.choice(target.seeds), target.seeds)


def read(target: Target, content: bytes) -> str:
    """Returns ``"accepted"`` or ``"rejected"``; propagates any exception other than a `ZooError`.

    Raises:
        AssertionError: The reader accessed a path outside its folder, or started a program.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _MONITOR.confined_to(Path(folder)):
        try:
            target.read(content, Path(folder))
        except ZooError as error:
            str(error).encode(errors="surrogatepass")
            return "rejected"
    return "accepted"
