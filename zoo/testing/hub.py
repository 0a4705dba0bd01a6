"""The contract of a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.specs import FetchRequest
from zoo.testing.contract import Contract

if TYPE_CHECKING:
    from zoo.plugins.specs import HubSpec, Wanted

_SECONDS = 120.0  # a hub that cannot be reached may try again
_MISSING = {
    "a model that does not exist": "zoo-contract/no-such-model",
    "a revision that does not exist": "zoo-contract/no-such-model@no-such-revision",
    "an empty name": "",
    "a name of spaces": "  ",
    "a path that leads out of the hub": "../..",
    "an absolute path": "/",
    "a name with a null byte": "zoo\0contract",
    "a name of 300 letters": "x" * 300,
}
_WANTED: tuple[Wanted, ...] = ("model", "weights")


@restore_random_states()
def check_hub(spec: HubSpec) -> None:
    """Checks that a hub raises a `ZooError` for models that it cannot have, within two minutes.

    Args:
        spec: The hub, as returned by the hook ``zoo_hubs``.

    Raises:
        AssertionError: The hub violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"hub {spec.name}")
    for wanted in _WANTED:
        for description, reference in _MISSING.items():
            _check_refusal(contract, spec, FetchRequest(reference=reference, wanted=wanted), description)


def _check_refusal(contract: Contract, spec: HubSpec, request: FetchRequest, description: str) -> None:
    def fetch() -> str:
        try:
            return f"it returned {resolve_callable(spec.fetch)(request)!r:.200}"
        except ZooError:
            return ""
        except Exception as error:  # what the contract requires is more than what raised
            return f"it raised {type(error).__name__}: {error}"

    what = f"fetch() of {description} must raise a ZooError"
    fault = contract.call_within(_SECONDS, what, fetch)
    contract.require(not fault, f"{what}; {fault}")
