import dataclasses

import pytest

from zoo.plugins.discovery import Plugin
from zoo.plugins.entry_points import DISTRIBUTION
from zoo.plugins.options import option
from zoo.plugins.registry import Registry
from zoo.plugins.specs import DatasetSpec, ImageSet, Sample


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    count: int = option(3, help="images", minimum=1)


def dataset(name, requests):
    def load(request):
        requests.append(request)
        request.progress("draw", 1, 1)
        return ImageSet(
            name=name, classes=("a", "b"), train=(Sample(b"", 0, "1"), Sample(b"", 1, "2")), note="Made up."
        )

    return DatasetSpec(name=name, load=load, options=Options)


@pytest.fixture
def requests():
    """What the datasets of `dataset_registry` were asked for."""
    return []


@pytest.fixture
def dataset_registry(requests):
    """A built-in plugin with the dataset hotdog, and two third-party plugins with a dataset cats each."""

    def plugin(distribution, qualifier, *names):
        return Plugin(
            key=f"{distribution}:{qualifier}",
            qualifier=qualifier,
            distribution=distribution,
            version="1",
            built_in=distribution == DISTRIBUTION,
            offers={"dataset": tuple(dataset(name, requests) for name in names)},
        )

    return Registry(
        [
            plugin(DISTRIBUTION, "datasets", "hotdog"),
            plugin("acme", "acme", "cats"),
            plugin("zoomax", "zoomax", "cats"),
        ]
    )


@pytest.fixture
def photo_folders(tmp_path, monkeypatch):
    """Makes a folder with photos/, sets/pets/ and list.csv the current one, and returns it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    for name in ("photos/a/1.jpg", "photos/b/2.jpg", "sets/pets/a/1.jpg", "sets/pets/b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"pixels")
    (tmp_path / "list.csv").write_text("photos/a/1.jpg,a\nphotos/b/2.jpg,b\n")
    return tmp_path
