from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from plugin_helpers import raising

import zoo
from zoo.errors import RunError
from zoo.testing import check_hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def hub_spec(fetch: Callable[[zoo.FetchRequest], Any]) -> zoo.HubSpec:
    return zoo.HubSpec(name="share", fetch=fetch)


def test_a_hub_that_refuses_what_it_cannot_have_passes() -> None:
    requests: list[zoo.FetchRequest] = []

    def fetch(request: zoo.FetchRequest) -> zoo.FetchedModel:
        requests.append(request)
        raise RunError("There is no such model.")

    check_hub(hub_spec(fetch))
    assert {each.wanted for each in requests} == {"model", "weights"}
    assert {"zoo-contract/no-such-model", "", "../..", "/", "zoo\0contract"} <= {each.reference for each in requests}


def test_another_exception_is_refused() -> None:
    message = "hub share: fetch() of a model that does not exist must raise a ZooError; it raised OSError: no"
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_hub(hub_spec(raising(OSError("no"))))


def test_a_path_that_leads_out_of_the_hub_is_refused(tmp_path: Path) -> None:
    def fetch(request: zoo.FetchRequest) -> zoo.FetchedModel:
        path = tmp_path / request.reference.strip("\0 ")[:200]
        if not request.reference.strip() or not path.exists():
            raise RunError("There is no such model.")
        return zoo.FetchedModel(path=path, origin="share:x")

    with pytest.raises(
        AssertionError, match=r"a path that leads out of the hub must raise .* it returned FetchedModel"
    ):
        check_hub(hub_spec(fetch))
