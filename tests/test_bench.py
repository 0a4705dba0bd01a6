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
def test_best(tmp_path):
    rows = run_benchmark("best", folder=tmp_path)
    assert [(row["set"], row["trainer"]) for row in rows] == [
        (name, trainer) for name in ("few", "fewer") for trainer in ("default", "best")
    ]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


@pytest.mark.slow
def test_suspects(tmp_path):
    few, fewer, mean = run_benchmark("suspects", folder=tmp_path)
    assert (few["set"], fewer["set"]) == ("few", "fewer")
    assert mean["zoo"] == pytest.approx((few["zoo"] + fewer["zoo"]) / 2)
    assert 0 <= mean["found"] <= 1


@pytest.mark.slow
def test_choices(tmp_path):
    rows = run_benchmark("choices", "--precision", "fp32", folder=tmp_path)
    assert {row["choice"] for row in rows} == {"precision, layout", "freed memory", "AdamW", "batch"}
    assert all(row["images/s"] > 0 for row in rows)
    first, second = (row for row in rows if row["choice"] == "AdamW")
    assert second["x the first"] == pytest.approx(second["images/s"] / first["images/s"])


@pytest.mark.slow
def test_imbalance(tmp_path):
    first, second = run_benchmark("imbalance", folder=tmp_path)
    assert (first["setting"], second["setting"]) == ("default", "weights balanced")
    assert float(first["balanced"]) > 0.5
    assert first["balanced, points"] == "+0.00 (+0.00 to +0.00)"


@pytest.mark.slow
def test_calibration(tmp_path):
    (row,) = run_benchmark("calibration", folder=tmp_path)
    assert row["calibrated on"] == "8 validation"  # too few to calibrate
    assert row["temperature"] == "none"
    assert row["Brier after"] == row["Brier before"]


@pytest.mark.slow
def test_stress(tmp_path):
    first, second = run_benchmark("stress", folder=tmp_path)
    assert (first["recipe"], second["recipe"], first["seeds"]) == ("default", "trivialaugment", 1)
    assert first["changed, points"] == "+0.0 (+0.0 to +0.0)"
    assert 0 <= float(second["changed"]) <= 1


@pytest.mark.slow
def test_startup(tmp_path):
    bare, zoo = run_benchmark("startup", folder=tmp_path)
    assert bare["ratio"] == 1
    assert zoo["ratio"] == pytest.approx(zoo["seconds"] / bare["seconds"])


@pytest.mark.slow
def test_plugins(tmp_path):
    bare, *rows = run_benchmark("plugins", folder=tmp_path)
    assert bare["ratio"] == 1
    assert [row["command"] for row in rows[:2]] == ["zoo --help", "zoo --help, 2 plugins"]


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
    missed = ("cropped", "corner", "rotated by", "negative")  # some or all of these are
    rows = [row for row in modified if not any(word in row["photos"] for word in missed)]
    assert len(rows) > 10
    assert all(row["%"] == 100 for row in rows)
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
def test_runtimes(tmp_path):
    rows = run_benchmark("runtimes", "--python", sys.executable, folder=tmp_path)
    assert {(row["runtime"], row["input"]) for row in rows} >= {
        (name, kind) for name in ("onnx, reference", "ONNX Runtime") for kind in ("image", "tensor")
    }
    for row in rows:
        assert row["same class"] == row["photos"] > 0
        assert row["all"] < 0.01
        assert row["error"] is None


@pytest.mark.slow
def test_int8(tmp_path):
    (row,) = run_benchmark("int8", folder=tmp_path)
    assert row["photos"] == 8
    assert row["gate"]
    if row["speed"] is not None:  # the gate refuses a file that is slower
        assert row["int8 - fp32"] == pytest.approx(row["int8 %"] - row["fp32 %"], abs=0.01)
        assert row["low"] <= row["int8 - fp32"] <= row["high"]


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
    zoo, loop, best = run_benchmark("peers", folder=tmp_path)
    assert zoo["x the first row"] == 1
    assert loop["x the first row"] == pytest.approx(loop["seconds"] / zoo["seconds"])
    assert 0 <= loop["test accuracy"] <= 1
    assert zoo["settings"].startswith("chosen itself: ")
    assert loop["settings"] == "its defaults"
    precision, layout, workers = best["settings"].split(", ")
    assert precision in ("fp32", "bf16")
    assert layout in ("contiguous", "channels-last")
    assert workers.endswith(" workers")


@pytest.mark.slow
def test_domains(tmp_path):
    kept = ("--keep", str(tmp_path / "kept"))
    rows = run_benchmark("domains", *kept, folder=tmp_path)
    trainers = ("default", "sgd", "plain")
    assert [(row["set"], row["trainer"]) for row in rows] == [
        (name, each) for name in ("few", "fewer") for each in trainers
    ]
    assert all(row["runs"] == 1 for row in rows)
    for row in rows:
        assert row["accuracy"] == pytest.approx(row["balanced"])  # the classes are equally large
        assert row["low"] is None if row["trainer"] == "default" else row["low"] <= row["minus default"] <= row["high"]
    (total, *_) = json.loads((tmp_path / "figures.json").read_text("utf-8"))["tables"]["Over all sets"]
    assert total["accuracy"] == pytest.approx((rows[0]["accuracy"] + rows[3]["accuracy"]) / 2)
    # A second call runs nothing: it could not before the limit of no time.
    assert run_benchmark("domains", *kept, "--time-limit", "0", folder=tmp_path) == rows


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


@pytest.fixture
def bench_path(monkeypatch):
    """Makes the modules of bench/ importable."""
    monkeypatch.syspath_prepend(BENCH)


def test_processor_limits_are_reported(bench_path, monkeypatch):
    import _machine

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    machine = _machine.describe_machine() | {"torch_capability": "AVX2"}
    assert "torch uses AVX2 (ATEN_CPU_CAPABILITY=avx2" in _machine.format_machine(machine)


def test_a_recipe_may_name_its_backbone(bench_path):
    from _recipes import parse_recipe

    frozen = parse_recipe("frozen=--freeze all")
    assert frozen.arguments("resnet18", "file.pth") == ["resnet18", "--weights", "file.pth", "--freeze", "all"]
    assert frozen.arguments("auto", None) == ["--freeze", "all"]
    assert parse_recipe("own=timm/vit_tiny --lr 1").arguments("resnet18", "file.pth") == ["timm/vit_tiny", "--lr", "1"]
    assert parse_recipe("default=").arguments("resnet18", "none") == ["resnet18", "--weights", "none"]


def test_recipes_run_a_copy_of_the_checkout(bench_path, tmp_path, monkeypatch):
    import _project
    from _recipes import zoo_command

    monkeypatch.chdir(BENCH.parent)  # the checkout that must not be imported
    copy = _project.copy_checkout(BENCH.parent, tmp_path / "copy")
    assert _project.hash_code([copy / "zoo"]) == _project.hash_code([BENCH.parent / "zoo"])
    safe_path = zoo_command()[:2]
    program = "import zoo; print(zoo.__file__)"
    environment = _project.checkout_environment(copy)
    done = subprocess.run([*safe_path, "-c", program], capture_output=True, text=True, env=environment)
    assert Path(done.stdout.strip()) == copy / "zoo" / "__init__.py"


@pytest.fixture
def photo_set(tmp_path):
    """A data set with 12 photos of one class and 4 of another, and as many to test."""
    for split in ("train", "test"):
        for label, count in (("cat", 12), ("dog", 4)):
            folder = tmp_path / "pets" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(f"{split} {label} {number}".encode())
    return tmp_path / "pets"


def test_sets_are_found_drawn_and_copied(bench_path, photo_set, tmp_path):
    from _sets import find_sets

    (tmp_path / "no set" / "train" / "cat").mkdir(parents=True)
    (pets,) = find_sets([tmp_path], None)
    assert find_sets([photo_set], ["pets"]) == [pets]
    few = pets.limit(8, seed=0)
    assert [path.parent.name for path in few.photos["train"]] == ["cat"] * 6 + ["dog"] * 2
    assert pets.limit(8, seed=0).digest() == few.digest() != pets.limit(8, seed=1).digest()
    assert pets.limit(16, seed=0) is pets
    held_out = pets.hold_out(0.25, seed=0)
    assert len(held_out.photos["test"]) == 4
    assert {*held_out.photos["train"], *held_out.photos["test"]} == {*pets.photos["train"]}
    copy = few.copy(tmp_path / "copy")
    assert sum(1 for path in copy.glob("*/*/*.jpg")) == 8 + 16
    with pytest.raises(SystemExit, match=r"No data set birds\. Found: copy, pets\."):
        find_sets([tmp_path], ["birds"])


def make_trainer(name, calls, *, wrong=(), fails=False):
    """A trainer that predicts every test photo correctly except the given ones."""
    from _trainers import RunError, Trainer

    def train(data, seed, folder):
        calls.append((name, seed))
        if fails:
            raise RunError("out of luck")
        photos = [path.relative_to(data / "test").as_posix() for path in sorted(data.glob("test/*/*"))]
        predictions = {photo: "mouse" if photo in wrong else photo.split("/")[0] for photo in photos}
        accuracy = 1 - len(wrong) / len(photos)
        return {"seconds": 2.0, "cpu_seconds": 1.0, "accuracy": accuracy, "predictions": predictions, "more": "kept"}

    return Trainer(name, {"zoo": [name]}, "code", 2, train)


def test_finished_runs_are_kept(bench_path, photo_set, tmp_path):
    from _runs import Store
    from _sets import find_sets
    from domains import Comparison

    sets, calls = find_sets([photo_set], None), []
    trainers = [make_trainer("good", calls), make_trainer("bad", calls, fails=True)]
    for expected in ([("good", 0), ("bad", 0), ("good", 1), ("bad", 1)], [("bad", 0), ("bad", 1)]):
        calls.clear()
        comparison = Comparison(Store(tmp_path / "kept"), {})
        comparison.measure(trainers, sets, limit=None)
        assert calls == expected
        assert comparison.failures == ["pets, bad, seed 0: out of luck", "pets, bad, seed 1: out of luck"]
        assert comparison.results.keys() == {("good", "pets", 0), ("good", "pets", 1)}
    calls.clear()
    edited = [trainers[0]._replace(code="edited")]
    late = Comparison(Store(tmp_path / "kept"), {}, deadline=0)
    late.measure(edited, sets, limit=None)
    assert (late.missing, late.results) == (2, {})
    store = Store(tmp_path / "kept", any_code=True)
    Comparison(store, {}, deadline=0).measure(edited, sets, limit=None)
    assert (store.others, calls) == (2, [])


def test_differences_are_paired(bench_path, photo_set, tmp_path):
    from _runs import Store
    from _sets import find_sets
    from _tables import tabulate
    from domains import Comparison

    comparison = Comparison(Store(tmp_path / "kept"), {})
    trainers = [
        make_trainer("base", [], wrong=("cat/0.jpg", "cat/1.jpg")),
        make_trainer("new", [], wrong=("dog/0.jpg",)),
    ]
    comparison.measure(trainers, find_sets([photo_set], None), limit=None)
    (base, new), _ = tabulate(comparison.results, ["base", "new"], ["pets"], "base")
    assert (base["accuracy"], new["accuracy"]) == (14 / 16, 15 / 16)
    assert (base["balanced"], new["balanced"]) == (pytest.approx(11 / 12), pytest.approx(7 / 8))
    assert new["minus base"] == 6.25
    assert new["balanced minus"] == pytest.approx(100 * (7 / 8 - 11 / 12), abs=0.01)
    assert new["low"] < 0 < new["high"]
    assert new["x time"] == 1


def test_an_interval_over_photos_is_that_of_students_t(bench_path):
    import numpy as np
    from scipy.stats import ttest_1samp

    from _intervals import analyse, combine, combine_as_sample

    differences = np.array([1, 0, 0, -1, 0, 1, 1, 0, 0, 0], float)
    expected = ttest_1samp(differences, 0).confidence_interval(0.95)
    found = combine([analyse(differences[:, None], np.zeros(10, int))])
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, expected.low, expected.high))
    assert combine_as_sample(differences) == pytest.approx(tuple(found))
    same = combine([analyse(np.zeros((10, 3)), np.zeros(10, int))])
    assert same == (0, 0, 0)


def test_an_interval_widens_where_seeds_differ(bench_path):
    import numpy as np

    from _intervals import analyse, combine

    rng = np.random.default_rng(0)
    photos = rng.integers(-1, 2, (100, 1)) * np.ones((1, 3))
    alike = combine([analyse(photos, np.zeros(100, int))])
    shifted = combine([analyse(photos + np.array([[-0.2, 0, 0.2]]), np.zeros(100, int))])
    assert shifted.mean == pytest.approx(alike.mean)
    assert shifted.high - shifted.low > 1.5 * (alike.high - alike.low)


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
