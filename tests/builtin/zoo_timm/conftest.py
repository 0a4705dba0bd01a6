import pytest


@pytest.fixture(autouse=True, scope="package")
def zoo_home(tmp_path_factory):
    """Sets a cache folder for the names of timm's networks, which take seconds to list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        yield
