"""``zoo demo``: serves runs and exported files."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import device_option, quiet_option, runs_option
from zoo.cli.terminal import console


@click.command("demo")
@click.argument("models", nargs=-1, metavar="[RUN-OR-FILE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all interfaces.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="Port to listen on; 0: any free one."
)
@device_option
@click.option(
    "--auth",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Require a password: a file with user:password on its first line.",
)
@click.option(
    "--max-upload",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    metavar="MIB",
    help="Largest request body.",
)
@click.option("--open/--no-open", "open_", default=None, help="Open the browser.  [default: on a terminal]")
@runs_option
@quiet_option
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    device: str,
    auth: Path | None,
    max_upload: int,
    open_: bool | None,
    runs: Path,
    quiet: bool,
) -> None:
    """Serve trained models in the browser and over HTTP.

    Without an argument, serves the newest run.
    """
    from zoo.utils.text import printable
    from zoo_demo.models.model_pool import load_model_pool
    from zoo_demo.server.serve import bind, is_loopback, serve, url_of

    credentials = None if auth is None else _read_credentials(auth)
    sock = bind(host, port)
    pool = load_model_pool(models, runs=runs, device=device)
    from zoo_demo.app import Settings, make_app

    app = make_app(pool, Settings(loopback=is_loopback(host), auth=credentials, max_upload=max_upload << 20))

    def announce() -> None:
        if quiet:
            console.echo(url_of(sock))
        else:
            console.echo(f"Listening on {url_of(sock)} (press Ctrl-C to stop)")
            names = printable(", ".join(pool.models))
            console.echo(f"Models: {names}" if names else f"No finished run in {runs}. Train a model on the Teach tab.")
        if console.on_terminal() if open_ is None else open_:
            click.launch(url_of(sock))

    serve(app, sock, on_ready=announce)


def _read_credentials(file: Path) -> tuple[str, str]:
    from zoo.errors import ConfigError

    try:
        user, colon, password = file.read_text(encoding="utf-8").partition("\n")[0].strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    if not (user and colon and password):
        raise ConfigError(f"The first line of {file} is not user:password.", hint="Write one, such as anna:s3cret.")
    return user, password
