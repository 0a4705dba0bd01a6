"""Tests of the camera: frames from a browser, and from hostile clients."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from zoo_demo.page import camera as camera_module
from zoo_demo.page.camera import camera

FRAME = {"photo": "data:image/jpeg;base64,aGFsbG8=", "model": "a"}


async def describe(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
    return {"message": f"{frame.decode()} for {target['model']}"}


def send(frame: Any, handler: Any = describe) -> dict[str, Any]:
    return asyncio.run(camera(handler, interval=0).frame(frame))


def test_the_handler_receives_the_frame_and_its_target() -> None:
    assert send(FRAME) == {"message": "hallo for a"}


@pytest.mark.parametrize(
    "frame", [None, [], "data:image/png;base64,aGFsbG8=", {}, {"photo": 1}, {"photo": "/etc/passwd"}]
)
def test_malformed_frames_are_rejected(frame: object) -> None:
    assert send(frame) == {"error": "The frame contains no photo."}


def test_errors_are_returned_as_text() -> None:
    async def fail(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        raise gr.Error("There is no model yet.")

    assert send({**FRAME, "photo": "data:image/png;base64,%%%"})["error"] == "The photo is not valid base64."
    assert send(FRAME, fail) == {"error": "There is no model yet."}


def test_too_many_concurrent_frames_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "_MAX_CONCURRENT", 2)

    async def send_concurrently() -> list[dict[str, Any]]:
        release = asyncio.Event()

        async def wait(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
            await release.wait()
            return {"message": "seen"}

        component = camera(wait, interval=0)
        frames = [asyncio.create_task(component.frame(FRAME)) for _ in range(3)]
        await asyncio.sleep(0)
        release.set()
        return [*await asyncio.gather(*frames), await component.frame(FRAME)]

    answers = asyncio.run(send_concurrently())
    assert answers == [{"message": "seen"}, {"message": "seen"}, {"error": "The server is busy."}, {"message": "seen"}]


def test_constants_are_not_properties_of_the_component() -> None:
    """Gradio replaces all properties when one changes: the page would forget that this camera takes single photos."""

    async def handle(photo: bytes, target: dict[str, Any]) -> dict[str, Any]:
        return {}

    component = camera(handle, burst=10, interval=0.3, label="cat")

    assert 'data-burst="10" data-interval="300.0"' in component.html_template
    assert component.props == {"target": {"label": "cat"}}
