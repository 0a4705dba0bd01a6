"""Assembles the page and the API into one ASGI application."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo_demo.temp_files import sweep_forever, temp_folder

# gradio reads some of its settings while it is imported.
# Do not look for new versions, and do not report usage.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# gradio keeps its last 10,000 events and rebuilds a table of them after each one. Keep one, and never rebuild.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
# Put uploads where they are swept.
os.environ["GRADIO_TEMP_DIR"] = str(temp_folder() / "gradio")

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.authentication import AuthenticationMiddleware

from zoo_demo.page.theme import CSS, HEAD, THEME
from zoo_demo.page.uploads import guard_files
from zoo_demo.server.access import LOOPBACK_HOSTS, BasicAuth, OriginGuard, reject_unauthenticated
from zoo_demo.server.api import make_router
from zoo_demo.server.request_limits import RequestLimits
from zoo_demo.tabs import batch, compare, predict, teach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from zoo_demo.models.model_pool import ModelPool

_TITLE = "Zoo"
_MAX_CONCURRENT_EVENTS, _MAX_QUEUED_EVENTS = 8, 256  # per function of the page; of all functions together
_TABS = {
    "Predict": predict.build,
    "Live": predict.build_live,
    "Compare": compare.build,
    "Batch": batch.build,
    "Teach": teach.build,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the application.

    Attributes:
        loopback: Whether the server listens on loopback only; it then answers to loopback's host names only.
        auth: User and password; None for no authentication.
        max_upload: Largest request body, in bytes.
        temp_seconds: How long to keep uploads and files made from them.
    """

    loopback: bool = True
    auth: tuple[str, str] | None = None
    max_upload: int = 64 << 20
    temp_seconds: float = 3600


def make_app(pool: ModelPool, settings: Settings) -> FastAPI:
    """Returns the application: the page at ``/``, the API below ``/api/v1``, its schema at ``/openapi.json``."""
    # FastAPI's documentation pages load scripts from other servers; nothing here leaves the machine.
    app = FastAPI(title=_TITLE, docs_url=None, redoc_url=None, lifespan=_sweep_while_running(settings.temp_seconds))
    app.include_router(make_router(pool.models))
    guard_files()
    gr.mount_gradio_app(
        app,
        make_page(pool),
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
    # The last one added handles a request first.
    if settings.auth is not None:
        user, password = settings.auth
        backend = BasicAuth(user=user, password=password)
        app.add_middleware(AuthenticationMiddleware, backend=backend, on_error=reject_unauthenticated)
    app.add_middleware(RequestLimits, max_bytes=settings.max_upload)
    app.add_middleware(OriginGuard, hosts=LOOPBACK_HOSTS if settings.loopback else None)
    return app


def make_page(pool: ModelPool) -> gr.Blocks:
    """Returns the page."""
    page = gr.Blocks(title=_TITLE, analytics_enabled=False)
    with page:
        gr.Markdown("# Classify photos")
        with gr.Tabs():
            for name, build in _TABS.items():
                with gr.Tab(name) as tab:
                    build(pool, page, tab)
    page.queue(default_concurrency_limit=_MAX_CONCURRENT_EVENTS, max_size=_MAX_QUEUED_EVENTS)
    return page


def _sweep_while_running(seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep_forever(seconds=seconds))
        yield
        task.cancel()

    return lifespan
