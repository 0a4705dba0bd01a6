"""The doors at which files of strangers come in: for each, whole files to spoil, and what reads them."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import exports, photos, runs
from fuzz.mutations import (
    Mutation,
    scramble,
    spoil_json,
    spoil_lines,
    spoil_members,
    spoil_png,
    spoil_safetensors,
)
from fuzz.watch import Watch
from run_files import WHOLE, untrained

from zoo.errors import ZooError
from zoo.runs.run import METRICS, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WATCH = Watch()


@dataclass(frozen=True)
class Entrance:
    """A door.

    Attributes:
        seeds: Makes whole files.
        read: Given the content of a file and an empty folder. Whatever but a `ZooError` comes out of it is a finding,
            and so is what it does outside of that folder.
        mutate: Spoils a file.
    """

    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutation = scramble

    @functools.cached_property
    def made(self) -> Sequence[bytes]:
        """The whole files, made once."""
        return self.seeds()


ENTRANCES = {
    "image": Entrance(photos.images, photos.decode_whole, spoil_png),
    "image part": Entrance(photos.images, photos.decode_part, spoil_png),
    "image header": Entrance(photos.images, photos.read_header_alone, spoil_png),
    "run.json": Entrance(lambda: [json.dumps(WHOLE[RECORD]).encode()], runs.read_record, spoil_json),
    "run": Entrance(lambda: [untrained()[1]], runs.load_run, spoil_json),
    "metrics.jsonl": Entrance(lambda: [json.dumps(WHOLE[METRICS]).encode() + b"\n"], runs.read_metrics, spoil_lines),
    "manifest.json": Entrance(lambda: [json.dumps(WHOLE["manifest.json"]).encode()], runs.read_manifest, spoil_json),
    "tags.json": Entrance(lambda: [json.dumps(WHOLE["tags.json"]).encode()], runs.read_tags, spoil_json),
    "model.safetensors": Entrance(runs.weights, runs.read_weights, spoil_safetensors),
    "checkpoint.pt": Entrance(runs.pickles, runs.read_checkpoint, spoil_members),
    "weights.pth": Entrance(runs.pickles, runs.read_pickle, spoil_members),
    "card": Entrance(exports.cards, exports.read_card, spoil_json),
    "onnx inspect": Entrance(
        lambda: [*exports.graphs(), *exports.pt2_archives()], exports.inspect_file, exports.spoil_onnx
    ),
    "onnx load": Entrance(exports.graphs, exports.load_and_predict, exports.spoil_onnx),
    "onnx elsewhere": Entrance(exports.graphs_elsewhere, exports.find_data_elsewhere, scramble),
    "archive": Entrance(photos.archives, photos.unpack, spoil_members),
    "table": Entrance(lambda: [b"path,label,split\n1.png,a,train\n2.png,b,train\n"], photos.read_table, scramble),
    "dataset name": Entrance(photos.names, photos.read_dataset, scramble),
}


def spoilt(entrance: Entrance, name: str, seed: int, number: int) -> bytes:
    """Returns the spoilt file of a case; it is made of the seed, the entrance's name and the number alone."""
    dice = random.Random(f"{name} {seed} {number}")
    return entrance.mutate(dice, dice.choice(entrance.made), entrance.made)


def read(entrance: Entrance, content: bytes) -> str:
    """Returns ``"taken"`` or ``"refused"``; raises whatever else comes out.

    Raises:
        AssertionError: It touched what lies elsewhere, or started a program.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _WATCH.kept_inside(Path(folder)):
        try:
            entrance.read(content, Path(folder))
        except ZooError as error:
            str(error).encode(errors="surrogatepass")
            return "refused"
    return "taken"
