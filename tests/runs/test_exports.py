import json

import pytest

from zoo.errors import RunError
from zoo.runs.exports import EXPORTS, ExportRecord, read_exports, record_export
from zoo.runs.manifest import check_folder, write_manifest
from zoo.runs.record import RunRecord, write_record

SOURCE = {"target": "acme/text", "plugin": "acme:text", "version": "1.2"}
VALUES = {**SOURCE, "verified": True, "exported": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_record(folder, RunRecord(status="finished"))
    write_manifest(folder)
    return folder


def test_a_run_without_exports_has_none(folder):
    assert read_exports(folder) == ()


def test_exports_are_recorded_with_their_files(folder, tmp_path):
    (folder / "deep" / "model").mkdir(parents=True)
    (folder / "deep" / "model" / "weights.bin").write_bytes(b"w")
    (folder / "deep" / "config.txt").write_bytes(b"c")  # what a target writes beside the path that it returns
    record_export(folder, folder / "deep" / "model", **VALUES)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "elsewhere.bin").write_bytes(b"x")
    record_export(folder, tmp_path / "private" / "elsewhere.bin", **VALUES)
    assert read_exports(folder) == (
        ExportRecord(file="deep/model", **VALUES),
        ExportRecord(file="elsewhere.bin", **VALUES),
    )
    assert "private" not in (folder / EXPORTS).read_text()
    assert check_folder(folder) == []


def test_a_new_export_of_a_file_replaces_its_record(folder):
    (folder / "model.bin").write_bytes(b"w")
    for version in ("1.2", "1.3"):
        record_export(folder, folder / "model.bin", **{**VALUES, "version": version})
    assert [record.version for record in read_exports(folder)] == ["1.3"]
    record_export(folder, folder / "model.bin", **{**VALUES, "target": "other/text"})
    assert [record.target for record in read_exports(folder)] == ["acme/text", "other/text"]


ROW = {"file": "model.bin", **VALUES}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is not of format 1"),
        ({"format": 2, "exports": []}, "is not of format 1"),
        ({"format": 1, "exports": {}}, "is not of format 1"),
        ({"format": 1, "exports": [3]}, "has an entry without file, target"),
        ({"format": 1, "exports": [{"file": "model.bin"}]}, "has an entry without file, target"),
        ({"format": 1, "exports": [{**ROW, "verified": "yes"}]}, "a value of the wrong type"),
        ({"format": 1, "exports": [{**ROW, "file": None}]}, "a value of the wrong type"),
    ],
)
def test_a_broken_record_is_an_error(folder, content, message):
    (folder / EXPORTS).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(RunError, match=message):
        read_exports(folder)
