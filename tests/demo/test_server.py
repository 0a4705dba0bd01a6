"""Listening, and what is said where one cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from zoo.errors import ConfigError
from zoo_demo.server import address, bind

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_that_is_taken_is_told_with_how_to_choose_another() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert address(sock) == f"http://127.0.0.1:{port}"

        with pytest.raises(ConfigError, match=f"port {port}: Address already in use") as caught:
            bind("127.0.0.1", port)

    assert "--port" in caught.value.hint


def test_an_address_that_is_not_of_this_machine_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1 port 0") as caught:  # RFC 5737: nobody's
        bind("192.0.2.1", 0)

    assert "--host 127.0.0.1" in caught.value.hint


@pytest.mark.slow
def test_a_server_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zoo", "demo", "--runs", str(tmp_path / "runs"), "--port", "0", "--no-open"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening on ")
        assert "the page can teach one" in process.stdout.readline()
        assert len(list(tmp_path.glob("zoo-demo-*"))) == 1

        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
