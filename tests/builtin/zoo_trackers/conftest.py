"""Events of a run, and the trackers that receive them; the libraries are those of the environment."""

import pytest

from zoo.config import FinetuneConfig
from zoo.plugins.kinds import TRACKER
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import TrackerRequest
from zoo.testing.tracker import sample_events, write_sample_run


@pytest.fixture
def track(tmp_path):
    """Returns a function that tracks a run, up to its end unless it is interrupted, and returns its folder."""

    def run(tracker, *, name="tiny-linear-photos-1", resumed=False, group="", status="finished", **options):
        folder = tmp_path / "runs" / name
        write_sample_run(folder)
        (choice,) = load_registry().choose_all(TRACKER, [tracker], options)
        request = TrackerRequest(
            run=folder,
            folder=folder / "trackers" / tracker,
            config=FinetuneConfig(backbone="tiny", data="./photos", head_options={"hidden": 3}).to_dict(),
            options=choice.options,
            resumed=resumed,
            group=group,
        )
        request.folder.mkdir(parents=True, exist_ok=True)
        started = choice.offer.call("starting", choice.spec.start, request)
        for event in sample_events(folder, finished=status == "finished"):
            started.track(event)
        started.close(status)
        return folder

    return run
