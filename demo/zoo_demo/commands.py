"""``zoo demo``: serves runs and exported files."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import device_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.utils.paths import missing_path_advice

_MAX_CREDENTIALS = 1 << 16  # bytes


@click.command("demo")
@click.argument("models", nargs=-1, metavar="[RUN-OR-FILE]...", shell_complete=complete_runs)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all interfaces.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="Port to listen on; 0: any free one."
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this host name too, which a reverse proxy passes on; may be repeated.",
)
@click.option(
    "--root-path",
    default="",
    envvar="GRADIO_ROOT_PATH",
    metavar="PATH",
    help="Path below which a reverse proxy serves the page, such as /app.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Believe X-Forwarded headers from this address or network; may be repeated.",
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
    allow_hosts: tuple[str, ...],
    root_path: str,
    trusted_proxies: tuple[str, ...],
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
    from zoo_demo.server.proxies import check_host, check_proxy, check_root_path
    from zoo_demo.server.serve import bind, serve, url_of

    credentials = None if auth is None else _read_credentials(auth)
    root_path = check_root_path(root_path)
    proxies = tuple(map(check_proxy, trusted_proxies))
    names = frozenset(map(check_host, allow_hosts))
    with bind(host, port) as sock:
        pool = load_model_pool(models, runs=runs, device=device)
        from zoo_demo.app import Settings, make_app

        settings = Settings(
            hosts=_hosts(host, names),
            root_path=root_path,
            trusted_proxies=proxies,
            auth=credentials,
            max_upload=max_upload << 20,
        )
        app = make_app(pool, settings)

        def announce() -> None:
            if quiet:
                console.echo(url_of(sock))
            else:
                console.echo(f"Listening on {url_of(sock)} (press Ctrl-C to stop)")
                models = printable(", ".join(pool.models))
                empty = f"No finished run in {runs}. Train a model on the Teach tab."
                console.echo(f"Models: {models}" if models else empty)
            if console.on_terminal() if open_ is None else open_:
                click.launch(url_of(sock))

        serve(app, sock, on_ready=announce)


def _hosts(address: str, names: frozenset[str]) -> frozenset[str] | None:
    """Returns the host names to answer to; None for all, on a network where no names are given."""
    from zoo_demo.server.access import LOOPBACK_HOSTS
    from zoo_demo.server.serve import is_loopback

    if not names and not is_loopback(address):
        return None
    own = f"[{address}]" if ":" in address else address.lower()
    return LOOPBACK_HOSTS | names | ({own} - {"0.0.0.0", "[::]"})


def _read_credentials(file: Path) -> tuple[str, str]:
    from zoo.errors import ConfigError

    try:
        with file.open("rb") as stream:  # may be a pipe
            text = stream.read(_MAX_CREDENTIALS).decode()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.", hint=missing_path_advice(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} cannot be read: it is not UTF-8 text.") from error
    user, colon, password = text.partition("\n")[0].strip().partition(":")
    if not (user and colon and password):
        raise ConfigError(f"The first line of {file} is not user:password.", hint="Write one, such as anna:s3cret.")
    return user, password
