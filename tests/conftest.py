"""Fixtures that several folders use. Imports no torch: most tests do not need it."""

import sys

import hypothesis
import pytest

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture
def plugin():
    from fakes import FakePlugin

    return FakePlugin()


@pytest.fixture
def registry(plugin):
    from fakes import registry_of

    return registry_of(plugin)


@pytest.fixture(autouse=True)
def _the_same_random_numbers():
    """Seeds torch's global generator, so that no test depends on those that ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
