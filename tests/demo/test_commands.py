"""Tests of ``zoo demo``: what it prints, and what it does not accept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from zoo.errors import ConfigError
from zoo_demo import app
from zoo_demo.commands import command
from zoo_demo.server import serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def settings() -> list[app.Settings]:
    """The settings of the applications that `start` makes."""
    return []


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: list[app.Settings]) -> Callable[..., str]:
    """Runs the command without serving; returns its output."""

    def announce_only(application: object, sock: socket.socket, *, on_ready: Callable[[], None]) -> None:
        on_ready()
        sock.close()

    def start(*options: str) -> str:
        arguments = ["--port", "0", "--no-open", "--runs", str(tmp_path), *options]
        return CliRunner().invoke(command, arguments, catch_exceptions=False).output

    monkeypatch.setattr(app, "make_app", lambda pool, made: settings.append(made))
    monkeypatch.setattr(serve, "serve", announce_only)
    return start


def test_the_url_is_printed_with_what_is_served(start: Callable[..., str], tmp_path: Path) -> None:
    first, second = start().splitlines()

    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+ \(press Ctrl-C to stop\)", first)
    assert second == f"No finished run in {tmp_path}. Train a model on the Teach tab."


def test_quiet_prints_only_the_url(start: Callable[..., str]) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", start("-q"))


@pytest.mark.parametrize("content", [b"", b"anna", b"anna:", b":s3cret", b"\nanna:s3cret", b"\xff"])
def test_a_file_without_user_and_password_is_an_error(
    start: Callable[..., str], tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"password (cannot be read|is not user:password)"):
        start("--auth", str(file))


def test_a_missing_password_file_is_an_error(start: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        start("--auth", str(tmp_path / "nowhere"))


LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ([], LOOPBACK),
        (["--host", "0.0.0.0"], None),
        (
            ["--allow-host", "photos.example.org", "--allow-host", "b.example"],
            {*LOOPBACK, "photos.example.org", "b.example"},
        ),
        (["--host", "0.0.0.0", "--allow-host", "photos.example.org"], {*LOOPBACK, "photos.example.org"}),
    ],
)
def test_the_server_answers_to_loopback_and_to_the_names_given(
    start: Callable[..., str], settings: list[app.Settings], options: list[str], hosts: set[str] | None
) -> None:
    start(*options)

    assert settings[0].hosts == hosts


def test_the_path_and_the_addresses_of_proxies_are_passed_on(
    start: Callable[..., str], settings: list[app.Settings]
) -> None:
    start("--root-path", "/app/", "--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")

    assert (settings[0].root_path, settings[0].trusted_proxies) == ("/app", ("127.0.0.1", "10.0.0.0/8"))


def test_a_root_path_that_is_none_is_an_error(start: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="--root-path 'app' is not a path"):
        start("--root-path", "app")
