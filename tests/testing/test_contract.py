from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from contract_offers import (
    IMAGES,
    GoodHead,
    Net,
    backbone_spec,
    dataset_spec,
    head_spec,
    violation,
)
from plugin_helpers import raising

from zoo.models.random_state import random_states
from zoo.plugins.options import option
from zoo.plugins.specs import Spec
from zoo.testing import check_backbone, check_dataset, check_head
from zoo.testing.contract import Contract, check_local, check_spec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class WithoutHelp:
    depth: int = 3


@dataclass(frozen=True)
class OutOfBounds:
    depth: int = option(0, minimum=1, help="layers")


@dataclass(frozen=True)
class Required:
    depth: int = option(minimum=1, help="layers")


@dataclass(frozen=True)
class Unreadable:
    depth: Nowhere = option(1, help="layers")  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Mutable:
    depth: int = option(1, help="layers")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (WithoutHelp, "the option 'depth' must have a line of help"),
        (OutOfBounds, "checking the default of the option 'depth'"),
        (Required, "requires the option 'depth'"),
        (Unreadable, "reading its options raised NameError: name 'Nowhere' is not defined"),
        (Mutable, "its options must be a frozen dataclass"),
        (dict, "its options must be a frozen dataclass"),
    ],
)
def test_options_that_break_the_contract_are_refused(options: Any, sentence: str) -> None:
    assert sentence in violation(lambda: check_backbone(backbone_spec(options=options)))


def test_an_option_without_default_is_given_to_the_check() -> None:
    check_backbone(backbone_spec(options=Required), options={"depth": 2})


@dataclass(frozen=True)
class RequiredChoice:
    kind: Literal["good", "bad"] = option(help="which")
    count: int = option(minimum=0, help="how many")


def test_a_spec_of_any_kind_is_checked_for_its_options() -> None:
    check_spec(Spec(name="ketchup"), kind="sauce")
    check_spec(Spec(name="ketchup", options=RequiredChoice), kind="sauce")
    message = violation(lambda: check_spec(Spec(name="ketchup", options=WithoutHelp), kind="sauce"))
    assert message.startswith("sauce ketchup: the option 'depth' must have a line of help")


def test_the_message_names_the_object_and_what_was_called() -> None:
    contract = Contract("backbone net")
    contract.require(True, "it must pass")
    assert violation(lambda: contract.require(False, "it must pass")) == "backbone net: it must pass"

    def call(error: Exception) -> None:
        with contract.calling("build()"):
            raise error

    assert violation(lambda: call(KeyError("depth"))) == "backbone net: build() raised KeyError: 'depth'"
    assert violation(lambda: call(AssertionError("as it is"))) == "as it is"


def test_is_local_returns_a_boolean() -> None:
    contract = Contract("backbone net")
    check_local(contract, lambda folder: folder == "cache", "cache")
    message = violation(lambda: check_local(contract, lambda: 1))
    assert message == "backbone net: is_local() must return True or False, not 1"
    message = violation(lambda: check_local(contract, raising(OSError("no disk"))))
    assert message == "backbone net: is_local() raised OSError: no disk"


def reseeded(value: Any) -> Any:
    """Returns a value as a plugin does that seeds the generators of everyone."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return value


def test_the_checks_leave_all_random_generators_as_they_were(tmp_path: Path) -> None:
    before = str(random_states(torch.device("cpu")))
    check_backbone(backbone_spec(lambda: reseeded(Net())))
    check_head(head_spec(lambda request: reseeded(GoodHead(request))))
    check_dataset(dataset_spec(lambda request: reseeded(IMAGES)), cache=tmp_path)
    assert str(random_states(torch.device("cpu"))) == before
