"""Assembles the page and the API into one ASGI application."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo_demo.temp_files import SweepAfterUploads, TempFiles, TempLimits, temp_folder, upload_folder

# gradio reads some of its settings while it is imported.
# Do not look for new versions, and do not report usage.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# gradio keeps its last 10,000 events and rebuilds a table of them after each one. Keep one, and never rebuild.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
# Put uploads where they are swept, and serve the other files there too: gradio calls them a cache of examples.
os.environ["GRADIO_TEMP_DIR"] = os.environ["GRADIO_EXAMPLES_CACHE"] = str(temp_folder() / "gradio")

import gradio as gr
from fastapi import FastAPI, Request
from gradio import route_utils
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Mount

from zoo_demo.page.theme import CSS, HEAD, THEME
from zoo_demo.page.uploads import guard_files
from zoo_demo.server.access import LOOPBACK_HOSTS, BasicAuth, OriginGuard, PageGuard, reject_unauthenticated
from zoo_demo.server.api import PREDICT, make_router
from zoo_demo.server.proxies import ReverseProxies, route_path
from zoo_demo.server.request_limits import RequestLimits
from zoo_demo.tabs import batch, compare, predict, teach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from zoo_demo.models.model_pool import ModelPool

_TITLE = "Zoo"
_UPLOAD = "/gradio_api/upload"
_MAX_CONCURRENT_EVENTS, _MAX_QUEUED_EVENTS = 8, 128  # per function of the page; of all functions together
_UNUSED_SHARE, _ALL_SHARE = 4, 16  # requests of the largest size that uploads nobody uses, and all files, may take
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
        hosts: Host names that the server answers to; None for all.
        root_path: Path below which reverse proxies serve the page, such as ``/app``.
        trusted_proxies: Addresses and networks of the proxies whose ``X-Forwarded-`` headers are believed.
        auth: User and password; None for no authentication.
        max_upload: Largest request body, in bytes.
        temp_seconds: How long to keep uploads and files made from them. Uploads that nobody uses: a sixth of it.
    """

    hosts: frozenset[str] | None = LOOPBACK_HOSTS
    root_path: str = ""
    trusted_proxies: tuple[str, ...] = ()
    auth: tuple[str, str] | None = None
    max_upload: int = 64 << 20
    temp_seconds: float = 3600


def make_app(pool: ModelPool, settings: Settings) -> FastAPI:
    """Returns the application: the page at ``/``, the API below ``/api/v1``, its schema at ``/openapi.json``."""
    # FastAPI's documentation pages load scripts from other servers; nothing here leaves the machine.
    files = TempFiles(temp_folder(), upload_folder(), _temp_limits(settings))
    app = FastAPI(title=_TITLE, docs_url=None, redoc_url=None, lifespan=_sweep_while_running(files))
    app.include_router(make_router(pool.models))
    guard_files()
    route_utils.get_root_url = _root_url
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
    _gradio_app(app).uploaded_file_dir = str(upload_folder())
    # The last one added handles a request first.
    app.add_middleware(SweepAfterUploads, is_upload=lambda scope: route_path(scope) == _UPLOAD, files=files)
    app.add_middleware(PageGuard)
    if settings.auth is not None:
        user, password = settings.auth
        backend = BasicAuth(user=user, password=password)
        app.add_middleware(AuthenticationMiddleware, backend=backend, on_error=reject_unauthenticated)
    app.add_middleware(RequestLimits, max_bytes=settings.max_upload, photo_paths=(PREDICT, _UPLOAD))
    app.add_middleware(OriginGuard, hosts=settings.hosts)
    app.add_middleware(ReverseProxies, root_path=settings.root_path, trusted=settings.trusted_proxies)
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
    # With api_open, anyone could pass the queue and its limits by.
    page.queue(default_concurrency_limit=_MAX_CONCURRENT_EVENTS, max_size=_MAX_QUEUED_EVENTS, api_open=False)
    return page


def _root_url(request: Request, route_path: str, root_path: str | None) -> str:
    """Returns the address of the page, from which gradio makes those of files: the path alone.

    Gradio itself makes a whole URL. It would have to know the scheme and the host that the browser uses, and believes
    the ``X-Forwarded-`` headers of anyone.
    """
    return str(request.scope.get("app_root_path", request.scope["root_path"]))


def _gradio_app(app: FastAPI) -> Any:
    """Returns the application of the page, the last one mounted."""
    mount = app.routes[-1]
    assert isinstance(mount, Mount)
    return mount.app


def _temp_limits(settings: Settings) -> TempLimits:
    """Returns limits that leave half of the disk free."""
    most = min(_ALL_SHARE * settings.max_upload, shutil.disk_usage(temp_folder()).free // 2)
    return TempLimits(
        seconds=settings.temp_seconds,
        unused_seconds=settings.temp_seconds / 6,
        max_bytes=most,
        max_unused_bytes=most * _UNUSED_SHARE // _ALL_SHARE,
    )


def _sweep_while_running(files: TempFiles) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(files.sweep_forever())
        yield
        task.cancel()

    return lifespan
