"""The doors at which files of strangers come in: for each, whole files to spoil, and what reads them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz.mutations import (
    Mutation,
    scramble,
    spoil_graph,
    spoil_json,
    spoil_lines,
    spoil_members,
    spoil_png,
    spoil_safetensors,
)
from fuzz.watch import Watch
from onnx_files import card, model
from problem_images import problems
from run_files import WHOLE

from zoo.errors import ZooError
from zoo.run import CHECKPOINT, METRICS, RECORD, WEIGHTS, Run, preprocess_to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from zoo.registry import Registry

_MOST_BYTES = 300_000  # of a real image: larger ones take long, and have no more headers
_REAL = Path(os.environ.get("ZOO_TEST_DATA", "/nonexistent")) / "problem_images"
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


def _images() -> list[bytes]:
    real = [path.read_bytes() for path in sorted(_REAL.rglob("*")) if path.is_file() and path.suffix != ".tsv"]
    return [each.content for each in problems() if not each.dear] + [each for each in real if len(each) <= _MOST_BYTES]


def _decode(content: bytes, folder: Path) -> None:
    from zoo.data.image import decode, preprocess
    from zoo.specs import Preprocess

    try:
        pixels = decode(content, name="x")
    except ZooError as error:
        if "not enough memory" in error.message:
            raise MemoryError from error
        raise
    assert preprocess(pixels, Preprocess(size=(32, 32), resize=40)).shape == (32, 32, 3)


def _decode_part(content: bytes, folder: Path) -> None:
    from zoo.data.image import decode

    decode(content, name="x", enough=16)


def _header(content: bytes, folder: Path) -> None:
    from zoo.data.check.header import read_header

    if read_header(content) is None:
        raise ZooError("It is no image.")


def _run_with(name: str, content: bytes, folder: Path) -> Path:
    run = folder / "r-1"
    run.mkdir()
    (run / RECORD).write_text(json.dumps(WHOLE[RECORD]))
    (run / name).write_bytes(content)
    return run


def _record(content: bytes, folder: Path) -> None:
    from zoo.finetuning.assembly import config_of
    from zoo.listing import run_row
    from zoo.run import list_runs, open_run

    _run_with(RECORD, content, folder)
    for row in map(run_row, list_runs(folder)):
        json.dumps(row.to_dict())
    run = open_run(folder / "r-1")
    for attribute in ("backbone", "head", "fingerprint", "split", "digests", "results", "classes", "preprocess"):
        getattr(run, attribute)
    config_of(run)


@functools.cache
def _trained() -> tuple[Registry, bytes, bytes]:
    """Returns a registry, and record and weights of a run that was made with it."""
    import safetensors.torch
    from fakes import CLASSES, PREPROCESS, FakePlugin, registry_of

    from zoo.config import make_config
    from zoo.finetuning.assembly import assemble, find_offers

    registry = registry_of(FakePlugin())
    config = make_config("small", data="colours", head="flat", weights="none")
    made = assemble(config, find_offers(config, registry), None, len(CLASSES))
    names = {"backbone": "fake/small", "head": "fake/flat", "classes": CLASSES}
    values = {"config": config.to_dict(), "preprocess": preprocess_to_dict(PREPROCESS)}
    record = json.dumps({**WHOLE[RECORD], **names, **values}).encode()
    return registry, record, safetensors.torch.save(made.classifier.state_dict())


def _run(content: bytes, folder: Path) -> None:
    import numpy as np

    from zoo.predictor import load

    registry, _, weights = _trained()
    run = _run_with(RECORD, content, folder)
    (run / WEIGHTS).write_bytes(weights)
    load(run, device="cpu", registry=registry).predict(np.zeros((20, 24, 3), np.uint8))


def _metrics(content: bytes, folder: Path) -> None:
    from zoo.run import append_metrics, open_run

    run = _run_with(METRICS, content, folder)
    open_run(run).metrics()
    append_metrics(run, {"epoch": 9})


def _manifest(content: bytes, folder: Path) -> None:
    from zoo.manifest import MANIFEST, check_folder

    check_folder(_run_with(MANIFEST, content, folder))


def _tags(content: bytes, folder: Path) -> None:
    from zoo.run import open_run
    from zoo.taghistory import TAGS
    from zoo.tags import tags_by_run

    _run_with(METRICS, b"", folder)
    (folder / TAGS).write_bytes(content)
    tags_by_run(folder)
    open_run("hotdog@1", runs=folder)


@functools.cache
def _network() -> torch.nn.Module:
    from fakes import SmallBackbone

    return SmallBackbone()


def _weights_seeds() -> list[bytes]:
    import safetensors.torch

    return [safetensors.torch.save(_network().state_dict())]


def _weights(content: bytes, folder: Path) -> None:
    from zoo.finetuning.checkpoint import load_weights

    run = _run_with(WEIGHTS, content, folder)
    load_weights(Run(run, {"backbone": "fake/small", "head": "fake/flat"}), _network())


def _pickles() -> list[bytes]:
    import torch

    state = _network().state_dict()
    about = {"epoch": 1, "step": 2, "config": {}, "seconds": 0.5, "machine": {}}
    found = []
    for content in ({"state_dict": state, "about": about}, state, {"about": about}):
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
            found.append(buffer.getvalue())
    return found


def _checkpoint(content: bytes, folder: Path) -> None:
    from zoo.finetuning.checkpoint import describe_checkpoint

    describe_checkpoint(_run_with(CHECKPOINT, content, folder))


def _state_dict(content: bytes, folder: Path) -> None:
    from zoo.weights import read_state_dict

    (folder / "weights.pth").write_bytes(content)
    read_state_dict(folder / "weights.pth")


def _cards() -> list[bytes]:
    return [card().to_json().encode(), card(input="tensor", quantisation={"accuracy": 0.5}).to_json().encode()]


def _card(content: bytes, folder: Path) -> None:
    from zoo_export.card import ModelCard

    read = ModelCard.from_json(content.decode(errors="surrogateescape"), where="x")
    assert ModelCard.from_json(read.to_json(), where="again") == read


@functools.cache
def _onnx_files() -> tuple[bytes, ...]:
    return tuple(model(card(input=kind)).SerializeToString() for kind in ("pixels", "tensor"))


def _spoil_onnx(random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Spoils bytes, or values of the graph, or the card inside."""
    way = random.random()
    if way < 0.4 or content.startswith(b"PK"):
        return scramble(random, content, others)
    if way < 0.7:
        return spoil_graph(random, content, others)
    text = spoil_json(random, _cards()[0], _cards()).decode(errors="replace")
    return bytes(model(card(), text=text).SerializeToString())


def _archives() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/models/model.json", "{}")
        archive.writestr("m/extra/zoo", card(input="tensor", opset=0).to_json())
    return [buffer.getvalue()]


def _inspect(content: bytes, folder: Path) -> None:
    from zoo_export.inspection import inspect

    (folder / "m.onnx").write_bytes(content)
    json.dumps(inspect(folder / "m.onnx").to_dict())


def _predictor(content: bytes, folder: Path) -> None:
    import numpy as np

    from zoo_export.predictor import load

    load(content, device="cpu", threads=1).predict(np.zeros((20, 20, 3), np.uint8))


def _packed() -> list[bytes]:
    found = []
    for mode in ("w", "w:gz", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as archive:
            for name in ("a/1.txt", "b/" + "long" * 60 + ".txt"):
                info = tarfile.TarInfo(name)
                info.size = 5
                archive.addfile(info, io.BytesIO(b"hello"))
        found.append(buffer.getvalue())
    return [*found, *_archives()]


def _extract(content: bytes, folder: Path) -> None:
    from zoo.fetch.archive import Limits, extract

    (folder / "a.zip").write_bytes(content)
    try:
        extract(folder / "a.zip", folder / "out", limits=Limits(files=1000, total=50 << 20))
    finally:
        assert {path.name for path in folder.iterdir()} <= {"a.zip", "out"}, "something lies beside the folder"


def _table(content: bytes, folder: Path) -> None:
    from zoo.data.table import read_csv

    for name in ("1.png", "2.png"):
        (folder / name).touch()
    (folder / "photos.csv").write_bytes(content)
    read_csv(folder / "photos.csv")


def _names() -> list[bytes]:
    _trained()  # now, for to import torch starts programs
    return [b"colours", b"fake/colours"]


def _dataset(content: bytes, folder: Path) -> None:
    from zoo.data.source import load_images

    name = content.decode(errors="surrogateescape")
    if os.path.expanduser(name).startswith(("/", "..")):  # noqa: PTH111  pathlib raises where there is no such user
        raise ZooError("That is a path; it leads where it likes.")
    with contextlib.chdir(folder):
        load_images(name, registry=_trained()[0], options={})


ENTRANCES = {
    "image": Entrance(_images, _decode, spoil_png),
    "image part": Entrance(_images, _decode_part, spoil_png),
    "image header": Entrance(_images, _header, spoil_png),
    "run.json": Entrance(lambda: [json.dumps(WHOLE[RECORD]).encode()], _record, spoil_json),
    "run": Entrance(lambda: [_trained()[1]], _run, spoil_json),
    "metrics.jsonl": Entrance(lambda: [json.dumps(WHOLE[METRICS]).encode() + b"\n"], _metrics, spoil_lines),
    "manifest.json": Entrance(lambda: [json.dumps(WHOLE["manifest.json"]).encode()], _manifest, spoil_json),
    "tags.json": Entrance(lambda: [json.dumps(WHOLE["tags.json"]).encode()], _tags, spoil_json),
    "model.safetensors": Entrance(_weights_seeds, _weights, spoil_safetensors),
    "checkpoint.pt": Entrance(_pickles, _checkpoint, spoil_members),
    "weights.pth": Entrance(_pickles, _state_dict, spoil_members),
    "card": Entrance(_cards, _card, spoil_json),
    "onnx inspect": Entrance(lambda: [*_onnx_files(), *_archives()], _inspect, _spoil_onnx),
    "onnx load": Entrance(_onnx_files, _predictor, _spoil_onnx),
    "archive": Entrance(_packed, _extract, spoil_members),
    "table": Entrance(lambda: [b"path,label,split\n1.png,a,train\n2.png,b,train\n"], _table, scramble),
    "dataset name": Entrance(_names, _dataset, scramble),
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
