from dataclasses import replace

import pytest
from plugin_helpers import raising
from run_files import record_of

from zoo import BackboneFamily, BackboneSpec, hookimpl
from zoo.cli.listing import list_entries, search_runs, summarize_run
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.registry import Registry
from zoo.runs.run import RunFolder


def plugin_with(*backbones):
    class Plugin:
        @staticmethod
        @hookimpl
        def zoo_backbones():
            return list(backbones)

    return Plugin


def backbone(name, summary=""):
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


def test_each_name_resolves_to_its_entry():
    zoo = registry(
        torchvision=plugin_with(backbone("a"), backbone("b")),
        timm=plugin_with(family("a", "c")),
        acme=plugin_with(backbone("b"), backbone("d")),
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


def test_a_family_is_one_entry_and_its_names_are_not_loaded():
    def fail():
        raise AssertionError

    unread = BackboneFamily(name="many", names=fail, resolve=lambda name: None, summary="Many.")
    (entry,) = list_entries(registry(timm=plugin_with(unread))).entries
    assert (entry.name, entry.family, entry.summary) == ("timm/...", True, "Many.")


@pytest.mark.parametrize(
    ("word", "found"), [("NET", ["timm/net_b", "torchvision/net_a"]), ("large", ["torchvision/x"])]
)
def test_names_and_summaries_are_searched_for_a_word(word, found):
    zoo = registry(
        torchvision=plugin_with(backbone("net_a"), backbone("x", "A large one.")),
        timm=plugin_with(family("net_b", "other")),
    )
    assert sorted(entry.qualified for entry in list_entries(zoo, word=word).entries) == found


def test_only_the_included_kinds_are_listed():
    assert list_entries(registry(torchvision=plugin_with(backbone("a"))), include=["heads", "runs"]).entries == []


def test_an_unfinished_run_has_no_results(tmp_path):
    config = {"backbone": "tiny", "head": "linear", "data": "./photos/dogs", "recipe": "d2l"}
    row = summarize_run(RunFolder(tmp_path / "tiny-1", record_of(status="interrupted", config=config)))
    assert (row.status, row.accuracy, row.interval, row.seconds, row.split) == ("interrupted", None, None, None, "")
    assert row.data == "./photos/dogs"


def test_a_run_whose_process_is_gone_is_listed_as_stopped(tmp_path):
    assert summarize_run(RunFolder(tmp_path, record_of(status="training"))).status == "stopped"


def test_runs_are_matched_in_any_case(tmp_path):
    config = {"backbone": "ResNet18", "head": "linear", "data": "dogs", "recipe": "d2l"}
    run = RunFolder(tmp_path / "first-1", record_of(config=config))
    for word, count in {"": 1, "resnet": 1, "DOGS": 1, "FIRST": 1, "cat": 0}.items():
        assert len(search_runs([run], word)) == count


def test_a_run_with_an_empty_record_is_listed(tmp_path):
    row = summarize_run(RunFolder(tmp_path / "odd", record_of()))
    assert (row.name, row.status, row.backbone, row.data) == ("odd", "?", "?", "?")


@pytest.mark.parametrize(
    "value", [None, 3, True, "x", ["x"], {"test": 3}, {"test": {"interval": [1], "accuracy": "high"}}]
)
@pytest.mark.parametrize("field", ["config", "data", "results"])
def test_a_run_with_an_odd_record_is_listed(tmp_path, field, value):
    row = summarize_run(RunFolder(tmp_path / "odd", record_of(**{field: value})))
    assert (row.name, row.backbone, row.accuracy, row.interval, row.seconds) == ("odd", "?", None, None, None)


def test_a_plugin_that_fails_to_say_what_is_local_is_reported_once_and_listed():
    broken = [replace(backbone(name), is_local=raising(OSError("no disk"))) for name in ("a", "b")]
    entries, failures = list_entries(registry(torchvision=plugin_with(*broken)))
    assert [(entry.name, entry.local) for entry in entries] == [("a", False), ("b", False)]
    assert [failure.message for failure in failures] == [
        "The plugin finetune-zoo:torchvision failed while looking for the weights of 'a': OSError: no disk."
    ]


def test_members_of_a_family_with_local_weights_are_listed_and_marked():
    many = replace(family("a", "b"), local_names=lambda: ["b"])
    zoo = registry(timm=plugin_with(many))
    assert [(entry.name, entry.local) for entry in list_entries(zoo).entries] == [("b", True), ("timm/...", None)]
    expanded = list_entries(zoo, expand=True).entries
    assert [(entry.name, entry.local) for entry in expanded] == [("a", False), ("b", True)]
