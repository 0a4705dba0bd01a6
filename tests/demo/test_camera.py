"""What the camera of the page does with what a browser, or a stranger, sends it."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from zoo_demo import camera as module
from zoo_demo.camera import camera

FRAME = {"photo": "data:image/jpeg;base64,aGFsbG8=", "model": "a"}


async def told(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
    return {"told": f"{frame.decode()} for {target['model']}"}


def sent(frame: Any, take: Any = told) -> dict[str, Any]:
    return asyncio.run(camera(take, pause=0).frame(frame))


def test_a_frame_is_answered_with_what_it_is_for() -> None:
    assert sent(FRAME) == {"told": "hallo for a"}


@pytest.mark.parametrize(
    "frame", [None, [], "data:image/png;base64,aGFsbG8=", {}, {"photo": 1}, {"photo": "/etc/passwd"}]
)
def test_what_is_no_frame_is_refused(frame: object) -> None:
    assert sent(frame) == {"error": "There is no photo in this frame."}


def test_what_is_wrong_is_told_and_the_next_frame_is_answered() -> None:
    async def refuse(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        raise gr.Error("There is no model yet.")

    assert sent({**FRAME, "photo": "data:image/png;base64,%%%"})["error"].endswith("not base64.")
    assert sent(FRAME, refuse) == {"error": "There is no model yet."}


def test_no_more_frames_are_taken_at_a_time_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 2)

    async def all_at_once() -> list[dict[str, Any]]:
        go_on = asyncio.Event()

        async def wait(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
            await go_on.wait()
            return {"told": "seen"}

        of_page = camera(wait, pause=0)
        frames = [asyncio.create_task(of_page.frame(FRAME)) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        return [*await asyncio.gather(*frames), await of_page.frame(FRAME)]

    answers = asyncio.run(all_at_once())
    assert answers == [{"told": "seen"}, {"told": "seen"}, {"error": "Too many frames wait."}, {"told": "seen"}]


def test_what_never_changes_is_no_property_of_the_component() -> None:
    """Gradio replaces all properties when one changes: the page would forget that this camera waits to be pressed."""

    async def take(photo: bytes, target: dict[str, Any]) -> dict[str, Any]:
        return {}

    of_page = camera(take, burst=10, pause=0.3, label="cat")

    assert 'data-burst="10" data-pause="300.0"' in of_page.html_template
    assert of_page.props == {"target": {"label": "cat"}}
