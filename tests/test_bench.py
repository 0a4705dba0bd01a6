"""Runs the smallest form of each benchmark from its command line, and checks the table and the JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnx_files
import pytest

BENCH = Path(__file__).parent.parent / "bench"


def run_benchmark(name, *args, folder):
    """Runs a benchmark and returns the rows of its JSON. One thread, because other tests run at the same time."""
    file = folder / "figures.json"
    command = [sys.executable, str(BENCH / f"{name}.py"), "--quick", "--json", str(file), *args]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    output = json.loads(file.read_text("utf-8"))
    assert output["benchmark"] == name
    assert output["machine"]["cores"] >= 1
    for column in output["rows"][0]:
        assert f" {column} " in done.stdout
    return output["rows"]


@pytest.mark.slow
def test_limit(tmp_path):
    few = ("--photos", "16", "--batch-size", "8", "--freeze", "none", "--precision", "fp32")
    (row,) = run_benchmark("limit", *few, folder=tmp_path)
    assert row["engine / bare"] == pytest.approx(row["engine images/s"] / row["bare step images/s"])
    assert row["engine images/s"] > 0


@pytest.mark.slow
def test_choices(tmp_path):
    rows = run_benchmark("choices", "--precision", "fp32", folder=tmp_path)
    assert {row["choice"] for row in rows} == {"precision, layout", "freed memory", "AdamW", "batch"}
    assert all(row["images/s"] > 0 for row in rows)
    first, second = (row for row in rows if row["choice"] == "AdamW")
    assert second["x the first"] == pytest.approx(second["images/s"] / first["images/s"])


@pytest.mark.slow
def test_startup(tmp_path):
    bare, zoo = run_benchmark("startup", folder=tmp_path)
    assert bare["ratio"] == 1
    assert zoo["ratio"] == pytest.approx(zoo["seconds"] / bare["seconds"])


@pytest.mark.slow
def test_decode(tmp_path):
    rows = run_benchmark("decode", "--photos", "1", folder=tmp_path)
    assert {row["photos"] for row in rows} == {"500x375", "4000x3000"}
    for row in rows:
        assert row["decode/s"] > 0
        assert row["largest difference"] <= 3


def test_check(tmp_path):
    rows = run_benchmark("check", "--photos", "4", folder=tmp_path)
    assert [row["photos"] for row in rows] == ["500x375", "4000x3000"]
    for row in rows:
        assert row["100,000: minutes"] * 60 > 100_000 / row["full: photos/s"]


@pytest.mark.slow
def test_recognise(tmp_path):
    *modified, different = run_benchmark("recognise", "--photos", "8", folder=tmp_path)
    assert all(row["%"] == 100 for row in modified if "cropped" not in row["photos"] and "corner" not in row["photos"])
    assert different["pairs"] == 28


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small exported model."""
    file = tmp_path_factory.mktemp("bench") / "model.onnx"
    onnx.save(onnx_files.make_model(onnx_files.make_card()), file)
    return file


@pytest.mark.slow
def test_serve(tmp_path, model):
    rows = run_benchmark("serve", "--model", str(model), folder=tmp_path)
    assert [row["clients"] for row in rows] == [1, 8]
    for row in rows:
        assert row["errors"] == 0 < row["requests"]
        assert row["share"] == pytest.approx(row["requests/s"] / row["predictor/s"])


@pytest.mark.slow
def test_abuse(tmp_path, model):
    alone, abused = run_benchmark("abuse", "--model", str(model), folder=tmp_path)
    assert (alone["under abuse"], abused["under abuse"]) == ("no", "yes")
    for row in (alone, abused):
        assert row["failed"] == 0 < row["requests"]
        assert row["peak MiB"] > 0


@pytest.mark.slow
def test_export_families(tmp_path):
    (row,) = run_benchmark("export_families", folder=tmp_path)
    assert row["backbone"] == "torchvision/squeezenet1_1"
    assert all(0 < row[head] < 1e-4 for head in ("linear", "mlp", "cosine", "attention"))
    assert row["seconds"] > 0


@pytest.mark.slow
def test_inference(tmp_path):
    rows = {row["what"]: row for row in run_benchmark("inference", folder=tmp_path)}
    raw, ours = rows["ONNX Runtime, plain graph, fp32"], rows["predictor, raw pixels, fp32"]
    assert ours["predictor adds"].endswith("%")
    assert raw["predictor adds"] == ""
    assert all(row["ms, one"] > 0 for row in rows.values())
    assert "torch eager fp32" in rows
    assert "decode a JPEG of 500 x 375" in rows


@pytest.mark.slow
def test_peers(tmp_path):
    zoo, loop = run_benchmark("peers", folder=tmp_path)
    assert zoo["x the first row"] == 1
    assert loop["x the first row"] == pytest.approx(loop["seconds"] / zoo["seconds"])
    assert 0 <= loop["test accuracy"] <= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_scale(tmp_path):
    (row,) = run_benchmark("scale", "--counts", "16", "--folder", str(tmp_path), folder=tmp_path)
    assert row["ms per photo"] == pytest.approx(1e3 * row["seconds"] / 16)
    assert row["peak GiB"] > 0.1


@pytest.mark.slow
def test_frozen(tmp_path):
    (row,) = run_benchmark("frozen", "--precision", "fp32", folder=tmp_path)
    assert row["cached of an image"] == "128 x 4 x 4"
    assert row["kB"] == pytest.approx(128 * 4 * 4 * 4 / 1e3)
    assert row["ratio"] == pytest.approx(row["step, ms"] / row["step from cache, ms"])


def test_every_benchmark_is_described():
    page = (BENCH / "README.md").read_text("utf-8")
    for file in BENCH.glob("[a-z]*.py"):
        assert f"`python bench/{file.name}`" in page, f"bench/README.md does not mention {file.name}"


def test_generated_photos_are_split_and_reused(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCH)
    import _photos

    folder = _photos.generate(6, size=(64, 48), below=tmp_path)
    assert _photos.count_photos(folder) == {"train": 6, "val": 8, "test": 8}
    assert folder == _photos.generate(6, size=(64, 48), below=tmp_path)
    assert {path.parent.name for path in folder.glob("*/*/*")} == set(_photos.CLASSES)


def test_a_tenth_is_held_out_without_a_validation_split(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCH)
    import _photos

    for split, count in (("train", 30), ("test", 4)):
        for number in range(count):
            path = tmp_path / "data" / split / _photos.CLASSES[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert _photos.count_photos(_photos.copy_splits(tmp_path / "data", 20, into=tmp_path / "some")) == {
        "train": 18,
        "val": 2,
        "test": 4,
    }
    everything = _photos.copy_splits(tmp_path / "data", None, into=tmp_path / "all")
    assert _photos.count_photos(everything) == {"train": 27, "val": 3, "test": 4}
