"""Puts the page and the HTTP interface together into one ASGI application."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo_demo.scratch import keep_swept, scratch

# Before gradio is imported: it would ask for its newest version and report that it was used.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# It would also keep its last ten thousand events, and make a table of them anew after each one.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
# Uploads and what is made of them go after a while, and all of them with the process.
os.environ["GRADIO_TEMP_DIR"] = str(scratch() / "gradio")

import gradio as gr
from fastapi import FastAPI

from zoo_demo.api import make_router
from zoo_demo.limits import LOOPBACK, Limits
from zoo_demo.look import CSS, HEAD, THEME
from zoo_demo.metrics import Metrics
from zoo_demo.page import make_page
from zoo_demo.password import Password
from zoo_demo.photo_input import guard_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from zoo_demo.offer import Offer

TITLE = "Zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the application is reached.

    Attributes:
        loopback: Whether it listens on loopback alone, and answers to loopback's names only.
        auth: User and password; None where whoever reaches the port may use it.
        max_upload: Bytes of a request.
        seconds_kept: How long uploads, and what is made of them, are kept.
    """

    loopback: bool = True
    auth: tuple[str, str] | None = None
    max_upload: int = 64 << 20
    seconds_kept: float = 3600


def make_app(offer: Offer, settings: Settings) -> FastAPI:
    """Returns the application: the page at ``/``, the interface below ``/api/v1``, its schema at ``/openapi.json``."""
    # FastAPI's pages on the schema load their scripts from elsewhere; nothing here leaves the machine.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, lifespan=_swept(settings.seconds_kept))
    app.include_router(make_router(offer.served, Metrics()))
    guard_files()
    gr.mount_gradio_app(
        app,
        make_page(offer),
        path="/",
        show_error=False,
        max_file_size=settings.max_upload,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        theme=THEME,
        css=CSS,
        head=HEAD,
    )
    if settings.auth is not None:
        user, password = settings.auth
        app.add_middleware(Password, user=user, password=password)
    app.add_middleware(Limits, most_bytes=settings.max_upload, hosts=LOOPBACK if settings.loopback else None)
    return app


def _swept(seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(keep_swept(seconds=seconds))
        yield
        task.cancel()

    return lifespan
