import dataclasses
import json

import pytest
from fakes import FakePlugin, make_backbone_spec, make_registry
from PIL import Image
from training_runs import EventRecorder

from zoo.errors import ConfigError, RunError, UnknownNameError
from zoo.runs.open import open_run
from zoo.runs.run import list_runs
from zoo.training import finalize
from zoo.training.compare import compare

FAST = {"head": "flat", "epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}


@pytest.fixture(autouse=True)
def _no_pictures_of_runs(monkeypatch):
    monkeypatch.setattr(finalize, "write_pictures", lambda folder, **kwargs: None)


def test_every_variant_is_trained_with_every_seed(tmp_path, registry):
    observer = EventRecorder()
    comparison = compare(
        "small",
        data="colours",
        grid={"freeze": ["all", "none"]},
        common=FAST,
        seeds=(0, 1, 2),
        runs=tmp_path / "runs",
        output=tmp_path / "out",
        registry=registry,
        observer=observer,
    )
    assert [variant.name for variant in comparison.variants] == ["freeze=all", "freeze=none"]
    assert [note for note in observer.notes if note.startswith("Run ")] == [
        "Run 1 of 6: freeze=all, seed 0.",
        "Run 2 of 6: freeze=all, seed 1.",
        "Run 3 of 6: freeze=all, seed 2.",
        "Run 4 of 6: freeze=none, seed 0.",
        "Run 5 of 6: freeze=none, seed 1.",
        "Run 6 of 6: freeze=none, seed 2.",
    ]
    runs = list_runs(tmp_path / "runs")
    assert len(runs) == 6
    assert all(run.finished for run in runs)
    assert {str(run.path) for run in runs} == {path for variant in comparison.variants for path in variant.runs}
    for variant in comparison.variants:
        assert variant.mean == pytest.approx(sum(variant.accuracies) / 3)
        assert variant.half_width >= 0
        assert min(variant.seconds) > 0
    with Image.open(comparison.picture) as picture:
        assert picture.size[0] > 300
    table = json.loads(comparison.table.read_text())
    assert [row["name"] for row in table] == ["freeze=all", "freeze=none"]
    assert table[0]["accuracies"] == list(comparison.variants[0].accuracies)
    assert comparison.table.parent == tmp_path / "out"


def test_names_and_options_of_plugins_can_be_varied(tmp_path, registry):
    grid = {"augment": [(), ("grayscale",)], "loss_options": [{"epsilon": "1"}, {"epsilon": "3"}]}
    comparison = compare(
        "small", data="colours", grid=grid, common=FAST | {"loss": "poly-1"}, runs=tmp_path, registry=registry
    )
    assert [variant.name for variant in comparison.variants] == [
        "augment=none, loss epsilon=1",
        "augment=none, loss epsilon=3",
        "augment=grayscale, loss epsilon=1",
        "augment=grayscale, loss epsilon=3",
    ]


def test_without_a_grid_there_is_one_variant_and_one_seed_has_no_interval(tmp_path, registry):
    comparison = compare("small", data="colours", grid={}, common=FAST, runs=tmp_path, registry=registry)
    (variant,) = comparison.variants
    assert variant.name == "small"
    assert variant.half_width is None
    assert comparison.picture == tmp_path / "comparison.png"


def test_an_earlier_comparison_is_kept(tmp_path, registry):
    def run_compare():
        return compare("small", data="colours", grid={}, common=FAST, runs=tmp_path, registry=registry)

    first = run_compare()
    picture, table = first.picture.read_bytes(), first.table.read_bytes()
    (tmp_path / "comparison-2.png").write_bytes(b"of someone else")
    second = run_compare()
    assert (second.picture.name, second.table.name) == ("comparison-3.png", "comparison-3.json")
    assert (first.picture.read_bytes(), first.table.read_bytes()) == (picture, table)
    assert (tmp_path / "comparison-2.png").read_bytes() == b"of someone else"
    assert not (tmp_path / "comparison-2.json").exists()


def test_a_folder_that_cannot_be_created_is_an_error_before_the_first_run(tmp_path, registry):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=f"Cannot create the folder {output}"):
            compare("small", data="colours", grid={}, common=FAST, runs=tmp_path, output=output, registry=registry)
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize(
    ("grid", "options", "error", "message"),
    [
        ({"epochs": [1, 0]}, {}, ConfigError, "option 'epochs' is 0"),
        ({"epoch": [1]}, {}, ConfigError, "no option 'epoch'"),
        ({"epochs": [1, 2]}, {"common": {"epochs": 3}}, ConfigError, "'epochs' is both varied and fixed"),
        ({"epochs": [1]}, {"seeds": ()}, ConfigError, "at least one seed"),
        ({"head": ["flat", "falt"]}, {"common": {"epochs": 1}}, UnknownNameError, "no head 'falt'"),
    ],
)
def test_all_variants_are_checked_before_the_first_run(tmp_path, registry, grid, options, error, message):
    with pytest.raises(error, match=message):
        compare("small", data="colours", grid=grid, runs=tmp_path / "runs", registry=registry, **options)
    assert not (tmp_path / "runs").exists()


def test_without_a_name_the_best_local_backbone_is_compared(tmp_path):
    local = dataclasses.replace(make_backbone_spec(), is_local=lambda: True)
    comparison = compare(
        "auto",
        data="colours",
        grid={"lr": [1e-3]},
        common=FAST,
        runs=tmp_path / "runs",
        registry=make_registry(FakePlugin(backbones=[local])),
    )
    (variant,) = comparison.variants
    assert open_run(variant.runs[0]).config["backbone"] == "fake/small"
