import pytest
from run_files import record_of

from zoo import BackboneFamily, BackboneSpec, hookimpl
from zoo.cli.listing import list_entries, matching_runs, run_row
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.registry import Registry
from zoo.runs.run import Run


def offering(*backbones):
    class Plugin:
        @staticmethod
        @hookimpl
        def zoo_backbones():
            return list(backbones)

    return Plugin


def spec(name, summary=""):
    return BackboneSpec(name=name, build=lambda request: None, card=lambda: None, summary=summary)


def family(*names):
    return BackboneFamily(name="many", names=lambda: list(names), resolve=lambda name: None, summary="Many.")


def registry(**plugins):
    candidates = [
        Candidate(
            entry=entry, distribution="acme" if entry == "acme" else DISTRIBUTION, version="1", load=lambda p=p: p
        )
        for entry, p in plugins.items()
    ]
    return Registry(load_plugins(candidates))


def test_names_find_what_they_name():
    zoo = registry(
        torchvision=offering(spec("a"), spec("b")), timm=offering(family("a", "c")), acme=offering(spec("b"), spec("d"))
    )
    entries, failures = list_entries(zoo, expand=True)
    assert failures == []
    assert [(entry.name, entry.qualified) for entry in entries] == [
        ("a", "torchvision/a"),
        ("b", "torchvision/b"),
        ("acme/b", "acme/b"),
        ("acme/d", "acme/d"),
        ("timm/a", "timm/a"),
        ("c", "timm/c"),
    ]


def test_a_family_is_one_entry_and_is_not_asked():
    def never():
        raise AssertionError

    asked_never = BackboneFamily(name="many", names=never, resolve=lambda name: None, summary="Many.")
    (entry,) = list_entries(registry(timm=offering(asked_never))).entries
    assert (entry.name, entry.family, entry.summary) == ("timm/...", True, "Many.")


@pytest.mark.parametrize(
    ("word", "found"), [("NET", ["timm/net_b", "torchvision/net_a"]), ("large", ["torchvision/x"])]
)
def test_a_word_is_searched_in_names_and_summaries(word, found):
    zoo = registry(
        torchvision=offering(spec("net_a"), spec("x", "A large one.")), timm=offering(family("net_b", "other"))
    )
    assert sorted(entry.qualified for entry in list_entries(zoo, word=word).entries) == found


def test_kinds_are_left_out():
    assert list_entries(registry(torchvision=offering(spec("a"))), of=["heads", "runs"]).entries == []


def test_a_run_that_is_not_finished_has_no_figures(tmp_path):
    config = {"backbone": "tiny", "head": "linear", "data": "./photos/dogs", "recipe": "d2l"}
    row = run_row(Run(tmp_path / "tiny-1", record_of(status="training", config=config)))
    assert (row.status, row.accuracy, row.interval, row.seconds, row.part) == ("training", None, None, None, "")
    assert row.data == "./photos/dogs"


def test_runs_are_matched_in_any_case(tmp_path):
    config = {"backbone": "ResNet18", "head": "linear", "data": "dogs", "recipe": "d2l"}
    run = Run(tmp_path / "first-1", record_of(config=config))
    for word, count in {"": 1, "resnet": 1, "DOGS": 1, "FIRST": 1, "cat": 0}.items():
        assert len(matching_runs([run], word)) == count


def test_a_run_of_unknown_make_is_listed_all_the_same(tmp_path):
    row = run_row(Run(tmp_path / "odd", record_of()))
    assert (row.name, row.status, row.backbone, row.data) == ("odd", "?", "?", "?")


@pytest.mark.parametrize(
    "value", [None, 3, True, "x", ["x"], {"test": 3}, {"test": {"interval": [1], "accuracy": "high"}}]
)
@pytest.mark.parametrize("part", ["config", "data", "results"])
def test_a_run_whose_record_is_odd_is_listed_all_the_same(tmp_path, part, value):
    row = run_row(Run(tmp_path / "odd", record_of(**{part: value})))
    assert (row.name, row.backbone, row.accuracy, row.interval, row.seconds) == ("odd", "?", None, None, None)
