"""Names of datasets, files and classes from strangers: no file elsewhere is read, no code runs, terminals see text."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakePlugin, make_images, make_registry
from problem_images import encode, make_scene

import zoo
from zoo.cli.main import cli, main
from zoo.data.sources.folder import read_folder
from zoo.data.sources.load import load_source
from zoo.data.sources.resolve import resolve_data
from zoo.data.sources.table import read_csv
from zoo.errors import ZooError
from zoo.plugins.registry import Registry
from zoo.utils.paths import cache_folder

NAMES = [
    "../x",
    "a/b",
    "/etc",
    "/dev/zero",
    "..",
    ".",
    "",
    "-x",
    "--help",
    "a\0b",
    "\x1b[31mred",
    "a\nb",
    "~nobody-here/x",
    "x" * 5000,
    "\\\\host\\share",
    "C:\\x",
    "\ud800",
    "$(touch touched)",
    "hotdog; touch touched",
    "http://127.0.0.1:1/x.zip",
    "os.system",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def registry() -> Registry:
    return make_registry(FakePlugin())


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_of_a_dataset_is_an_error(here, registry, name):
    with pytest.raises(ZooError):
        load_source(resolve_data(name, registry=registry, options={}))
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in NAMES if "\ud800" not in name and "\0" not in name and name])
def test_the_command_prints_the_error_as_text(here, name, capfd):
    with pytest.raises(SystemExit) as caught:
        main(["finetune", "resnet18", "--weights", "none", "--data", name, "--runs", str(here / "runs")])
    output = capfd.readouterr()
    assert caught.value.code in (1, 2)
    assert "Traceback" not in output.err
    assert all(c == "\n" or c.isprintable() for c in output.out + output.err)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/../b", "a//b", "/etc", "a\\b", "C:x", "a\0b", "", "."])
def test_no_name_leads_out_of_the_cache(here, name):
    with pytest.raises(ZooError, match="is not a valid folder name"):
        cache_folder("datasets", name)


def test_a_plugin_cannot_provide_such_a_name():
    for name in ("../x", "a/b", "-x", "a\x1b[31m", ""):
        plugin = FakePlugin()
        plugin.zoo_datasets = zoo.hookimpl(lambda name=name: [zoo.DatasetSpec(name=name, load=lambda _: make_images())])
        with pytest.raises(AssertionError, match="names consist of lower-case letters"):
            make_registry(plugin)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_classes_and_files_are_printed_as_text(here, capfd):
    odd = "\x1b[31mred\n<b>"
    for split in ("train", "test"):
        for label in (odd, "blue"):
            (here / "photos" / split / label).mkdir(parents=True)
            for number in range(4):
                (here / "photos" / split / label / f"{number}\x07\x9b.png").write_bytes(
                    encode(make_scene((20, 20 + number)))
                )
    (here / "photos" / "train" / odd / "broken\x1b[2J.png").write_bytes(b"no photo")
    (here / "photos" / "train" / odd / "notes\x1b[2J.txt").write_bytes(b"no photo")
    for arguments in (["data", "check", "photos"], ["data", "check", "photos", "--json"], ["show", "./photos"]):
        result = CliRunner().invoke(cli, arguments)
        assert not isinstance(result.exception, Exception) or isinstance(result.exception, ZooError), arguments
        assert all(c == "\n" or c.isprintable() for c in result.output), arguments
    page = here / "page.html"
    CliRunner().invoke(cli, ["data", "check", "photos", "--html", str(page)])
    assert "<b>" not in page.read_text("utf-8").replace('<b class="', "")
    assert "\x1b" not in page.read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_leave_the_folder_are_not_followed(here):
    secret = here / "secret"
    secret.mkdir()
    (secret / "private.png").write_bytes(encode(make_scene()))
    for label in ("a", "b"):
        (here / "photos" / label).mkdir(parents=True)
        (here / "photos" / label / "1.png").write_bytes(encode(make_scene()))
    (here / "photos" / "a" / "2.png").symlink_to(secret / "private.png")
    (here / "photos" / "a" / "deep").symlink_to(secret)
    (here / "photos" / "a" / "3.png").symlink_to("/dev/zero")
    if hasattr(os, "mkfifo"):
        os.mkfifo(here / "photos" / "a" / "4.png")
    found = read_folder(here / "photos")
    assert [sample.name for sample in found.train] == ["a/1.png", "b/1.png"]
    assert len(found.skipped) == (4 if hasattr(os, "mkfifo") else 3)


def test_a_table_cannot_name_devices(here):
    Path("photos.csv").write_text("path,label\n/dev/zero,a\nx.png,b\n")
    with pytest.raises(ZooError, match="there is no file"):
        read_csv(Path("photos.csv"))
