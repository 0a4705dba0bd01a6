import dataclasses
import functools

import fakes
import pytest

from zoo.runs.record import DataRecord, PhotoRecord, RunRecord
from zoo.training.record import code_digests
from zoo.training.resume import find_changes

RECORD = RunRecord(
    classes=("cat", "dog"),
    config={"lr": 0.1, "freeze": "none"},
    packages={"torch": "2.15"},
    plugins={"acme:cats": "1"},
    sources={"zoo": "ab"},
    data=DataRecord(fingerprint="f1"),
)
PHOTOS = PhotoRecord(
    names={"train": tuple(f"{n}.png" for n in range(6)), "val": ("v.png",)},
    hashes={"train": tuple(f"{n:08}" for n in range(6)), "val": ("0000000v",)},
)
OTHER_DATA = DataRecord(fingerprint="f2")


def find(photos=PHOTOS, **changes):
    return find_changes(RECORD, dataclasses.replace(RECORD, **changes), PHOTOS, photos)


def test_nothing_has_changed():
    assert find() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"lr": 0.2, "freeze": "none"}}, "option lr: was 0.1, is 0.2"),
        ({"packages": {"torch": "2.16"}}, "version of torch: was 2.15, is 2.16"),
        ({"plugins": {}}, "plugin acme:cats: was 1, is not there"),
        ({"sources": {"zoo": "ab", "acme": "cd"}}, "source code of acme: was not there, is cd"),
        ({"classes": ("cat", "cow"), "data": OTHER_DATA}, "classes: they were cat, dog and are cat, cow"),
        ({"data": OTHER_DATA}, "data: its fingerprint was f1 and is f2"),
        (
            {
                "data": OTHER_DATA,
                "photos": PhotoRecord(
                    names={"train": ("0.png",), "val": ("v.png",)},
                    hashes={"train": ("00000000",), "val": ("0000000v",)},
                ),
            },
            "train photos that are gone: 1.png, 2.png, 3.png and 2 more",
        ),
        (
            {
                "data": OTHER_DATA,
                "photos": dataclasses.replace(PHOTOS, hashes={**PHOTOS.hashes, "val": ("0000000w",)}),
            },
            "val photos with another content or label: v.png",
        ),
    ],
)
def test_a_change_is_described(changes, message):
    assert find(**changes) == [message]


def test_sources_are_those_of_the_zoo_and_of_the_plugins_that_are_used(tmp_path, monkeypatch):
    package = tmp_path / "acme_zoo"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from acme_zoo.deep.net import build\n")
    (package / "deep" / "net.py").write_text("def build(request):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from acme_zoo import build

    digests = code_digests(functools.partial(build, 1), fakes.make_backbone_spec().build)
    assert list(digests) == ["zoo", "acme_zoo", "fakes"]
    assert code_digests(build)["acme_zoo"] == digests["acme_zoo"]
    (package / "deep" / "net.py").write_text("def build(request):\n    return 2\n")
    assert code_digests(build)["acme_zoo"] != digests["acme_zoo"]
    assert list(code_digests(functools.partial(print))) == ["zoo"]  # built in: no source
