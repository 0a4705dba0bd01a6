"""Puts the page and the HTTP interface together into one ASGI application."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from zoo_demo.scratch import scratch

# Before gradio is imported: it would ask for its newest version and report that it was used.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# It would also make a table of its last ten thousand events, anew after each one.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
# Uploads and what is made of them go with the process.
os.environ.setdefault("GRADIO_TEMP_DIR", str(scratch() / "gradio"))

import gradio as gr
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from zoo_demo.api import make_router
from zoo_demo.limits import LOOPBACK, Limits
from zoo_demo.look import CSS, HEAD, THEME
from zoo_demo.metrics import Metrics
from zoo_demo.page import make_page
from zoo_demo.photo_input import guard_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo_demo.offer import Offer

TITLE = "Zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the application is reached.

    Attributes:
        loopback: Whether it listens on loopback alone, and answers to loopback's names only.
        auth: User and password; None where whoever reaches the port may use it.
        max_upload: Bytes of a request.
    """

    loopback: bool = True
    auth: tuple[str, str] | None = None
    max_upload: int = 64 << 20


def make_app(offer: Offer, settings: Settings) -> FastAPI:
    """Returns the application: the page at ``/``, the interface below ``/api/v1``, its schema at ``/openapi.json``."""
    # FastAPI's pages on the schema load their scripts from elsewhere; nothing here leaves the machine.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None)
    guarded = [] if settings.auth is None else [Depends(_basic(settings.auth))]
    app.include_router(make_router(offer.served, Metrics(), guards=guarded))
    guard_files()
    gr.mount_gradio_app(
        app,
        make_page(offer),
        path="/",
        auth=settings.auth,
        show_error=False,
        max_file_size=settings.max_upload,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        theme=THEME,
        css=CSS,
        head=HEAD,
    )
    app.add_middleware(Limits, most_bytes=settings.max_upload, hosts=LOOPBACK if settings.loopback else None)
    return app


def _basic(wanted: tuple[str, str]) -> Callable[[HTTPBasicCredentials], None]:
    scheme = HTTPBasic()

    def check(given: Annotated[HTTPBasicCredentials, Depends(scheme)]) -> None:
        # Compared in constant time: how long it takes tells nothing about how much is right.
        user = secrets.compare_digest(given.username.encode(), wanted[0].encode())
        password = secrets.compare_digest(given.password.encode(), wanted[1].encode())
        if not (user and password):
            raise HTTPException(401, "Wrong user or password.", headers={"WWW-Authenticate": "Basic"})

    return check
