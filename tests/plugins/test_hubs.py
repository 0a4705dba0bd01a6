"""References to hubs: what is one, and what a hub may return."""

import pickle

import pytest
from plugin_helpers import plugin_of, raising
from run_files import VALID_FILES, write_json_record

import zoo
from zoo.errors import AmbiguousNameError, PluginError, RunError, UnknownNameError
from zoo.inference.open import ModelFile, find_model
from zoo.plugins.hubs import fetch_model, is_on_hub
from zoo.plugins.kinds import HUB
from zoo.plugins.registry import load_registry
from zoo.training.request import resolve_names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a run in ./stored, and a hub that offers what is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stored" / "cats").mkdir(parents=True)
    write_json_record(tmp_path / "stored" / "cats", VALID_FILES["run.json"])
    (tmp_path / "stored" / "cats.onnx").touch()
    return tmp_path


def registry_with(fetch, *, name="acme", **others):
    hubs = {f"zoo-{key}": spec for key, spec in {name: fetch, **others}.items()}
    return load_registry(
        extra={
            key: plugin_of(zoo_hubs=lambda spec=spec: [zoo.HubSpec(name="acme", fetch=spec)])
            for key, spec in hubs.items()
        }
    )


@pytest.fixture
def requests():
    return []


@pytest.fixture
def registry(folder, requests):
    def fetch(request):
        requests.append(request)
        return zoo.FetchedModel(path=folder / "stored" / request.reference, origin=f"acme:{request.reference}@7")

    return registry_with(fetch)


def test_the_hub_gets_what_follows_its_name(registry, requests, folder):
    fetched = fetch_model("acme:cats", "weights", registry=registry)
    assert (fetched.path, fetched.origin) == (folder / "stored" / "cats", "acme:cats@7")
    assert requests == [zoo.FetchRequest(reference="cats", wanted="weights")]


@pytest.mark.parametrize(
    "text", ["cats", "cats@3", "acme", "acme:", "https://acme/cats", "acme://cats", "C:cats", "\0:x"]
)
def test_anything_else_is_no_reference(registry, requests, text):
    assert fetch_model(text, "model", registry=registry) is None
    assert not is_on_hub(text, registry=registry)
    assert requests == []


def test_an_existing_path_is_no_reference(registry, requests, folder):
    (folder / "acme:cats").touch()
    assert fetch_model("acme:cats", "model", registry=registry) is None
    assert requests == []


def test_a_misspelt_hub_is_named(registry):
    assert is_on_hub("acme:cats", registry=registry)
    assert fetch_model("other:cats", "model", registry=registry) is None
    with pytest.raises(UnknownNameError, match="There is no hub 'amce'") as caught:
        fetch_model("amce:cats", "model", registry=registry)
    assert caught.value.hint == "Did you mean acme?"


def test_two_hubs_of_one_name_are_ambiguous(folder):
    registry = registry_with(raising(RunError("never called")), other=raising(RunError("never called")))
    with pytest.raises(AmbiguousNameError):
        fetch_model("acme:cats", "model", registry=registry)


@pytest.mark.parametrize(
    ("fetch", "message"),
    [
        (raising(ValueError("no disk")), "zoo-acme.* failed while fetching from 'acme': ValueError: no disk"),
        (lambda request: "stored/cats", "it returned 'stored/cats', not a zoo.FetchedModel"),
    ],
)
def test_a_hub_that_fails_is_named(folder, fetch, message):
    with pytest.raises(PluginError, match=message):
        fetch_model("acme:cats", "model", registry=registry_with(fetch))


def test_errors_of_a_hub_are_shown_as_they_are(folder):
    with pytest.raises(RunError, match="no such model"):
        fetch_model("acme:cats", "model", registry=registry_with(raising(RunError("no such model"))))


def test_a_hub_needs_more_than_a_letter():
    registry = load_registry(extra={"zoo-c": plugin_of(zoo_hubs=lambda: [zoo.HubSpec(name="c", fetch=print)])})
    assert [offer.spec.name for offer in registry.offers(HUB)] == ["hf"]
    assert any("a single letter, as of a drive of Windows" in str(plugin.error) for plugin in registry.failures)


def test_models_are_runs_or_files(registry):
    run = find_model("acme:cats", registry=registry)
    assert (run.name, run.origin) == ("cats", "acme:cats@7")
    file = find_model("acme:cats.onnx", registry=registry)
    assert isinstance(file, ModelFile)
    assert file.path.name == "cats.onnx"
    copy = pickle.loads(pickle.dumps(zoo.Run(run.path, run.record, origin=run.origin)))
    with pytest.raises(RunError, match=r"acme:cats@7 is the copy of a run on a hub"):
        copy.export()


def test_weights_are_recorded_with_their_version(registry, requests, folder, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(folder / "home"))
    (folder / "photos").mkdir()
    config = zoo.make_config("resnet18", data="./photos", weights="acme:cats")
    names = resolve_names(config, registry=registry)
    assert requests == [zoo.FetchRequest(reference="cats", wanted="weights")]
    assert names.config.weights == names.weights_origin == "acme:cats@7"
    assert names.weights.path == folder / "stored" / "cats"
