import importlib.metadata
import warnings

import pytest

from zoo.errors import PluginWarning
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import (
    BLOCK_VARIABLE,
    BUILT_IN,
    DISTRIBUTION,
    Candidate,
    blocked_names,
    find_plugins,
    import_target,
    is_blocked,
    warn_unused_blocks,
)


def install(folder, name, version="1.0", entry_points=None):
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    if entry_points is not None:
        (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def targets(candidates):
    return [candidate.load.args[0] for candidate in candidates]


def test_it_finds_what_importlib_metadata_finds():
    expected = {
        (e.dist.name.removesuffix("-runtime"), e.dist.version, e.name, e.value)
        for e in importlib.metadata.entry_points(group="zoo")
    }
    found = find_plugins()
    assert {(c.distribution, c.version, c.entry, c.load.args[0]) for c in found} == expected
    assert any(candidate.key == "finetune-zoo:heads" for candidate in found)


def test_the_plugins_of_both_distributions_of_the_zoo_are_built_in(tmp_path):
    install(tmp_path, "finetune_zoo", "0.1.0", "[zoo]\nheads = zoo_heads\n")
    install(tmp_path, "finetune_zoo_runtime", "0.1.0", "[zoo]\nexport = zoo_export\n")
    found = find_plugins("zoo", [str(tmp_path)])
    assert [(each.key, each.qualifier, each.built_in) for each in found] == [
        ("finetune-zoo:heads", "heads", True),
        ("finetune-zoo:export", "export", True),
    ]


def test_only_the_group_is_read(tmp_path):
    install(
        tmp_path, "Acme_Nets", "0.2", "[console_scripts]\nacme = acme:main\n\n[zoo]\n# nets\nnets = acme.nets:plugin\n"
    )
    install(tmp_path, "other", "1.0", "[console_scripts]\nzoo = other:main\n")
    install(tmp_path, "plain")
    (found,) = find_plugins("zoo", [str(tmp_path)])
    assert (found.key, found.version, targets([found])) == ("acme-nets:nets", "0.2", ["acme.nets:plugin"])


def test_the_first_of_two_distributions_of_one_name_counts(tmp_path):
    install(tmp_path / "first", "acme", "1.0", "[zoo]\na = one\n")
    install(tmp_path / "second", "Acme", "2.0", "[zoo]\na = two\n")
    folders = [str(tmp_path / name) for name in ("missing", "first", "second")]
    assert targets(find_plugins("zoo", folders)) == ["one"]


@pytest.mark.parametrize(
    ("folder", "key", "version"),
    [
        ("acme_nets-1.0.dist-info", "acme-nets:a", "1.0"),
        ("acme-nets-1.0.dev3+local.dist-info", "acme-nets:a", "1.0.dev3+local"),
        ("Acme.Nets-2.egg-info", "acme-nets:a", "2"),
        ("acme_nets-2.1-py3.11.egg-info", "acme-nets:a", "2.1"),
        ("acme_nets.egg-info", "acme-nets:a", ""),
    ],
)
def test_name_and_version_are_those_of_the_folder(tmp_path, folder, key, version):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "entry_points.txt").write_text("[zoo]\na = acme\n", encoding="utf-8")
    (found,) = find_plugins("zoo", [str(tmp_path)])
    assert (found.key, found.version) == (key, version)


def test_an_unreadable_file_declares_nothing(tmp_path):
    install(tmp_path, "acme")
    (tmp_path / "acme-1.0.dist-info" / "entry_points.txt").write_bytes(b"[zoo]\n\xff = x\n")
    assert find_plugins("zoo", [str(tmp_path)]) == []


def test_built_in_plugins_come_first_in_their_order():
    entries = [found.entry for found in find_plugins() if found.built_in]
    assert entries[: len(BUILT_IN)] == list(BUILT_IN)
    assert [found.distribution for found in find_plugins()][: len(BUILT_IN)] == [DISTRIBUTION] * len(BUILT_IN)


def test_third_party_plugins_follow_by_key(tmp_path):
    install(tmp_path, "Zoo_B.Net", entry_points="[zoo]\nb = zoo_b\n")
    install(tmp_path, "zoo-a", entry_points="[zoo]\nz = zoo_z\na = zoo_a:plugin\n")
    found = find_plugins("zoo", [str(tmp_path)])
    assert [each.key for each in found] == ["zoo-a:a", "zoo-a:z", "zoo-b-net:b"]
    assert not any(each.built_in for each in found)
    assert load_plugins(found)[0].error == "ModuleNotFoundError: No module named 'zoo_a'"


@pytest.mark.parametrize(
    ("target", "name"), [("os.path", "path"), ("os.path:join", "join"), ("os : path.join [extra]", "join")]
)
def test_a_target_is_a_module_or_its_attribute(target, name):
    assert import_target(target).__name__.endswith(name)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("acme-nets:nets", True),
        ("Acme_Nets:nets", True),
        ("acme-nets:other", False),
        ("nets", True),
        ("acme-nets", True),
        ("acme_nets", True),
        ("ACME.nets", True),
        ("Nets", False),
        ("acme", False),
    ],
)
def test_a_plugin_is_blocked_by_key_entry_or_distribution_in_any_spelling(name, blocks):
    candidate = Candidate(entry="nets", distribution="acme-nets", version="1", load=object)
    assert is_blocked(candidate, frozenset({name})) is blocks


def test_blocked_names_are_separated_by_commas(monkeypatch):
    monkeypatch.delenv(BLOCK_VARIABLE, raising=False)
    assert blocked_names() == frozenset()
    monkeypatch.setenv(BLOCK_VARIABLE, " timm, ,acme:x ,")
    assert blocked_names() == {"timm", "acme:x"}


def test_a_name_that_blocks_nothing_is_warned_of():
    candidate = Candidate(entry="nets", distribution="acme", version="1", load=object)
    with pytest.warns(PluginWarning, match="ZOO_BLOCK_PLUGINS names 'ntes', but no such plugin is installed"):
        warn_unused_blocks(frozenset({"ntes", "nets"}), [candidate])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unused_blocks(frozenset({"nets"}), [candidate])
