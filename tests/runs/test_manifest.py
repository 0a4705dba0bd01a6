import json
import os

import pytest

from zoo.errors import RunError
from zoo.runs.manifest import (
    MANIFEST,
    Mismatch,
    check_folder,
    hash_file,
    read_manifest,
    update_manifest,
    write_manifest,
)

FILES = {
    "run.json": b'{"format": 1}',
    "model.safetensors": bytes(range(256)) * 4,
    "metrics.jsonl": b'{"epoch": 1}\n',
    "curves.png": b"\x89PNG",
    "empty": b"",
    "deeper/still/labels.txt": b"cat\ndog\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "r-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(tmp_path / "r-1")
    return tmp_path / "r-1"


def test_an_unchanged_folder_matches(folder):
    assert check_folder(folder) == []
    assert set(read_manifest(folder)) == set(FILES)
    assert read_manifest(folder)["empty"] == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        0,
    )


@pytest.mark.parametrize("name", [name for name in FILES if name != "empty"])
def test_one_changed_byte_is_named(folder, name):
    content = bytearray(FILES[name])
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert check_folder(folder) == [Mismatch(name, "changed")]


def test_missing_additional_and_longer_files_and_links_are_named(folder):
    (folder / "curves.png").unlink()
    (folder / "run.json").write_bytes(FILES["run.json"] + b" ")
    (folder / "deeper" / ".hidden").touch()
    (folder / "metrics.jsonl").rename(folder / "elsewhere")
    (folder / "metrics.jsonl").symlink_to("elsewhere")
    (folder / "outside").symlink_to(folder.parent, target_is_directory=True)
    assert [(each.file, each.state) for each in check_folder(folder)] == [
        ("curves.png", "missing"),
        ("deeper/.hidden", "additional"),
        ("elsewhere", "additional"),
        ("metrics.jsonl", "not a regular file"),
        ("outside", "not a regular file"),
        ("run.json", "changed"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_block(folder):
    os.mkfifo(folder / "pipe")
    assert check_folder(folder) == [Mismatch("pipe", "not a regular file")]
    with pytest.raises(RunError, match="pipe is not a regular file"):
        hash_file(folder / "pipe")


def test_only_signatures_at_the_top_are_ignored(folder):
    (folder / "model.sig").touch()
    (folder / "deeper" / "model.sig").touch()
    assert check_folder(folder) == [Mismatch("deeper/model.sig", "additional")]


def test_an_update_changes_only_the_named_entries(folder):
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / "empty").write_bytes(b"changed")
    (folder / "curves.png").unlink()
    update_manifest(folder, ["model.onnx", "curves.png"])
    assert check_folder(folder) == [Mismatch("empty", "changed")]
    assert read_manifest(folder)["model.onnx"].size == 4
    assert "curves.png" not in read_manifest(folder)


def test_an_update_creates_a_missing_manifest_for_all_files(folder):
    (folder / MANIFEST).unlink()
    update_manifest(folder, ["run.json"])
    assert check_folder(folder) == []


def test_an_update_refuses_files_outside_the_folder(folder):
    (folder.parent / "other").touch()
    with pytest.raises(RunError, match=r"names '\.\./other'"):
        update_manifest(folder, ["../other"])


A_HASH = "0" * 64


@pytest.mark.parametrize(
    "name", ["../r-2", "/etc/passwd", "a/../b", "a//b", "", ".", "C:/x", "a\\b", "\0", "a/"], ids=repr
)
def test_a_manifest_that_leads_out_of_the_folder_is_refused(folder, name):
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": {name: {"sha256": A_HASH, "size": 1}}}))
    with pytest.raises(RunError, match=r"manifest\.json names .*, which is not a file inside the folder"):
        check_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"format": 2, "files": {}}',
        '{"format": 1, "files": []}',
        *(
            json.dumps({"format": 1, "files": {"run.json": entry}})
            for entry in (
                3,
                {},
                {"sha256": A_HASH},
                {"sha256": "0", "size": 1},
                {"sha256": A_HASH.replace("0", "G"), "size": 1},
                {"sha256": A_HASH, "size": -1},
                {"sha256": A_HASH, "size": "1"},
                {"sha256": A_HASH, "size": 1.0},
            )
        ),
    ],
)
def test_a_broken_manifest_is_named(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json"):
        check_folder(folder)


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"has no manifest\.json") as caught:
        check_folder(tmp_path)
    assert "when it is finished" in caught.value.hint
