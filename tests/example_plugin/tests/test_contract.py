from zoo.testing import check_plugin


def test_contract() -> None:
    check_plugin("zoo_tinynet")
