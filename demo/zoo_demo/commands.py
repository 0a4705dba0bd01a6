"""``zoo demo``: serves runs and exported files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zoo.runs.run import RUNS


@click.command("demo")
@click.argument("models", nargs=-1, metavar="[RUN OR FILE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 for any free one.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--auth", metavar="FILE", type=click.Path(path_type=Path), help="A file with user:password in its first line."
)
@click.option(
    "--max-upload", type=click.IntRange(1, 4096), default=64, show_default=True, metavar="MIB", help="Largest upload."
)
@click.option("--open/--no-open", "open_", default=None, help="Open the browser.  [default: on a terminal]")
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=RUNS,
    show_default=True,
    help="Folder of the runs.",
)
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    device: str,
    auth: Path | None,
    max_upload: int,
    open_: bool | None,
    runs: Path,
) -> None:
    """Open a page with live predictions of runs and exported files."""
    from zoo.utils.text import printable
    from zoo_demo.offer import make_offer
    from zoo_demo.server import address, bind, is_loopback, serve

    credentials = None if auth is None else _credentials(auth)
    sock = bind(host, port)
    offer = make_offer(models, runs=runs, device=device)
    from zoo_demo.app import Settings, make_app

    app = make_app(offer, Settings(loopback=is_loopback(host), auth=credentials, max_upload=max_upload << 20))

    def ready() -> None:
        click.echo(f"Listening on {address(sock)}; Ctrl-C stops it.")
        names = printable(", ".join(offer.served))
        click.echo(f"On offer: {names}." if names else f"No finished run in {runs}: the page can teach one.")
        if sys.stdout.isatty() if open_ is None else open_:
            click.launch(address(sock))

    serve(app, sock, ready=ready)


def _credentials(file: Path) -> tuple[str, str]:
    from zoo.errors import ConfigError

    try:
        user, colon, password = file.read_text(encoding="utf-8").partition("\n")[0].strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    if not (user and colon and password):
        raise ConfigError(f"{file} does not hold user:password in its first line.")
    return user, password
