"""Fixtures shared by several folders. Imports no torch, because most tests do not need it."""

import sys

import hypothesis
import pytest

# The duration of an example depends more on the machine's load than on the code.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture
def plugin():
    from fakes import FakePlugin

    return FakePlugin()


@pytest.fixture
def registry(plugin):
    from fakes import make_registry

    return make_registry(plugin)


@pytest.fixture(autouse=True)
def _seed_torch():
    """Seeds torch's global generator, so that no test depends on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
