"""Tests of what is accepted as a photo."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from gradio import processing_utils
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

from zoo_demo.page.uploads import guard_files, photo_input, uploaded_file


@pytest.mark.parametrize("path", ["/etc/passwd", "pyproject.toml", "../x", "http://127.0.0.1:1/x"])
def test_files_that_were_not_uploaded_are_rejected(path: str) -> None:
    with pytest.raises(gr.Error, match="Files of the server are not accessible"):
        photo_input().preprocess(ImageData(path=path))
    with pytest.raises(gr.Error, match="Files of the server are not accessible"):
        uploaded_file(f"{get_upload_folder()}/../{path}")


def test_uploads_and_frames_are_passed_on_unchanged() -> None:
    uploaded = Path(get_upload_folder()) / "abc" / "photo.png"
    uploaded.parent.mkdir(parents=True, exist_ok=True)
    uploaded.write_bytes(b"hallo")

    assert photo_input().preprocess(ImageData(path=str(uploaded))) == str(uploaded)
    uploaded.unlink()
    with pytest.raises(gr.Error, match="no longer has this upload"):
        photo_input().preprocess(ImageData(path=str(uploaded)))
    assert photo_input().preprocess(ImageData(url="data:image/png;base64,aGFsbG8=")) == b"hallo"
    assert photo_input().preprocess(None) is None
    with pytest.raises(gr.Error, match="not valid base64"):
        photo_input().preprocess(ImageData(url="data:image/png;base64,%%%"))


def test_gradio_accepts_neither_urls_nor_files_that_were_not_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_check_allowed", "async_ssrf_protected_download", "ssrf_protected_download", "save_url_to_cache"):
        monkeypatch.setattr(processing_utils, name, None)
    guard_files()

    with pytest.raises(gr.Error, match="URLs are not fetched"):
        gr.Image().move_resource_to_block_cache("http://127.0.0.1:1/x.png")
    foreign_file = {"path": __file__, "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(gr.Error, match="Files of the server are not accessible"):
        processing_utils.move_files_to_cache(foreign_file, gr.Textbox(), check_in_upload_folder=True)
