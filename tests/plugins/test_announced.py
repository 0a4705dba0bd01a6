import importlib.metadata

import pytest

from zoo.plugins.announced import Announced, announced_plugins


def install(folder, name, version="1.0", entry_points=None):
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    if entry_points is not None:
        (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def test_it_says_what_importlib_metadata_says():
    expected = {(e.dist.name, e.dist.version, e.name, e.value) for e in importlib.metadata.entry_points(group="zoo")}
    assert set(announced_plugins("zoo")) == expected
    assert any(plugin.key == "finetune-zoo:heads" for plugin in announced_plugins("zoo"))


def test_only_the_group_is_read(tmp_path):
    install(
        tmp_path, "Acme_Nets", "0.2", "[console_scripts]\nacme = acme:main\n\n[zoo]\n# nets\nnets = acme.nets:plugin\n"
    )
    install(tmp_path, "other", "1.0", "[console_scripts]\nzoo = other:main\n")
    install(tmp_path, "plain")
    assert announced_plugins("zoo", [str(tmp_path)]) == [Announced("acme-nets", "0.2", "nets", "acme.nets:plugin")]


def test_the_first_of_two_distributions_of_one_name_counts(tmp_path):
    install(tmp_path / "first", "acme", "1.0", "[zoo]\na = one\n")
    install(tmp_path / "second", "acme", "2.0", "[zoo]\na = two\n")
    folders = [str(tmp_path / name) for name in ("missing", "first", "second")]
    assert [plugin.value for plugin in announced_plugins("zoo", folders)] == ["one"]


def test_what_cannot_be_read_announces_nothing(tmp_path):
    install(tmp_path, "acme")
    (tmp_path / "acme-1.0.dist-info" / "entry_points.txt").write_bytes(b"[zoo]\n\xff = x\n")
    assert announced_plugins("zoo", [str(tmp_path)]) == []


@pytest.mark.parametrize(
    ("value", "loaded"), [("os.path", "posixpath"), ("os.path:join", "join"), ("os : path.join [extra]", "join")]
)
def test_load_imports_the_module_or_its_attribute(value, loaded):
    assert Announced("acme", "1.0", "x", value).load().__name__.endswith(loaded.replace("posixpath", "path"))
