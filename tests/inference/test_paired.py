import shutil

import pytest
from fakes import CLASSES, FakePlugin, make_images, make_registry
from training_runs import FAST, EventRecorder

from zoo.errors import ConfigError, DataError
from zoo.inference.paired import evaluate_paired
from zoo.runs.open import open_run
from zoo.training.finetune import finetune


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    """A run on the same data as `trained_run`, from another seed."""
    runs, registry = tmp_path_factory.mktemp("other"), make_registry(FakePlugin())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        return finetune("small", runs=runs, registry=registry, pictures=False, **{**FAST, "epochs": 1, "seed": 5})


def evaluate_both(first, second, registry, **values):
    return evaluate_paired([first, second], device="cpu", registry=registry, **values)


def test_each_model_is_evaluated_on_the_same_photos(trained_run, other_run, registry, tmp_path):
    second = open_run(shutil.copytree(other_run.path, tmp_path / "second"))
    result = evaluate_both(trained_run, second, registry)
    assert [*result.evaluations] == [trained_run.name, "second"]
    for run, evaluation in zip((trained_run, other_run), result.evaluations.values(), strict=True):
        assert (evaluation.accuracy, evaluation.count) == (run.results["test"]["accuracy"], 18)
    (difference,) = result.differences
    one, two = (each.accuracy for each in result.evaluations.values())
    assert difference.accuracy == pytest.approx(two - one)
    assert (difference.first, difference.second) == (trained_run.name, "second")
    plain = result.to_dict()
    assert [each["name"] for each in plain["models"]] == [trained_run.name, "second"]
    assert plain["differences"][0]["text"] == difference.describe()


def test_photos_that_a_run_was_trained_on_are_left_out(trained_run, registry, plugin, tmp_path):
    """The second run has half of the first one's test photos among its training photos."""
    images = make_images()
    plugin.dataset = make_images(train=(*images.train, *images.test[:9]), test=images.test[9:])
    other = finetune("small", runs=tmp_path, registry=registry, pictures=False, **{**FAST, "epochs": 1, "limit": None})
    plugin.dataset = images
    observer = EventRecorder()
    result = evaluate_both(trained_run, other, registry, observer=observer)
    assert [*result.evaluations] == [str(trained_run.path), str(other.path)]  # they have the same name
    assert {each.count for each in result.evaluations.values()} == {9}
    assert f"9 of 18 photos are left out: {other.path} was trained on them." in observer.notes


def test_one_model_or_the_same_twice_is_an_error(trained_run, registry):
    with pytest.raises(ConfigError, match="at least two models"):
        evaluate_paired([trained_run], registry=registry)
    with pytest.raises(ConfigError, match="is given twice"):
        evaluate_both(trained_run, trained_run, registry)


def test_models_of_other_classes_are_an_error(trained_run, registry, plugin, tmp_path):
    plugin.dataset = make_images(classes=("one", *CLASSES[1:]))
    other = finetune("small", runs=tmp_path, registry=registry, pictures=False, **{**FAST, "epochs": 1})
    plugin.dataset = make_images()
    with pytest.raises(DataError, match=f"{trained_run.path} has the class 'red', which {other.path} does not"):
        evaluate_both(trained_run, other, registry)
