import pytest

from zoo.testing import check_plugin


@pytest.mark.slow
def test_the_plugin_keeps_the_contract(one_thread):
    check_plugin("zoo_augmentations")
