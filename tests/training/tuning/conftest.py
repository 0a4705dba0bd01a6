"""One registry for all tests of the search: none of them changes its plugins."""

import pytest
from fakes import FakePlugin, make_registry


@pytest.fixture(scope="session")
def registry():
    return make_registry(FakePlugin())
