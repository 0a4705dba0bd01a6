"""Listening, and what is said where one cannot."""

from __future__ import annotations

import pytest

from zoo.errors import ConfigError
from zoo_demo.server import address, bind


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
