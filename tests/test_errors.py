import pytest

from zoo.errors import ConfigError, OtherProcessError, close_matches, did_you_mean

OPTIONS = ("--rotation", "--precision", "--epochs", "--lr", "--weights", "--weight-decay", "--head-option", "--probe")
NAMES = ("torchvision/resnet18", "torchvision/resnet50", "torchvision/vit_b_16", "timm/mobilenetv3_large_100", "tiny")


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("--eposch", ["--epochs"]),
        ("--weigths", ["--weights"]),
        ("--weight", ["--weights", "--weight-decay"]),  # an edit is nearer than a longer name
        ("--head_options", ["--head-option"]),
        ("--pobre", []),  # two swaps, and five letters allow one edit
        ("--patience", []),
        ("--learning-rate", []),
        ("--x", []),
    ],
)
def test_options_are_suggested_only_if_they_are_close(typed, near):
    assert close_matches(typed, OPTIONS) == near


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("resnet81", ["torchvision/resnet18"]),
        ("torchvision/resnet19", ["torchvision/resnet18"]),
        ("ResNet-50", ["torchvision/resnet50"]),
        ("resnet", ["torchvision/resnet18", "torchvision/resnet50"]),
        ("vitb16", ["torchvision/vit_b_16"]),
        ("mobilenet_v3", ["timm/mobilenetv3_large_100"]),
        ("tinny", ["tiny"]),
        ("tony", ["tiny"]),
        ("swin", []),
        ("", []),
    ],
)
def test_names_are_compared_by_their_last_part(typed, near):
    assert close_matches(typed, NAMES) == near


def test_no_more_than_the_limit_are_suggested():
    assert close_matches("resnet", [f"resnet{depth}" for depth in range(18, 40)], limit=2) == ["resnet18", "resnet19"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("tinny", "Did you mean tiny?"),
        ("resnet", "Did you mean resnet18 or resnet50?"),
        ("net", "Did you mean net1, net2 or net3?"),
        ("wombat", ""),
    ],
)
def test_did_you_mean_is_a_sentence(typed, sentence):
    assert did_you_mean(typed, ["tiny", "resnet18", "resnet50", "net1", "net2", "net3"]) == sentence


def test_a_hint_is_a_line_of_its_own():
    assert str(ConfigError("The value is wrong.", hint="Choose another.")) == "The value is wrong.\nChoose another."
    assert str(ConfigError("The value is wrong.")) == "The value is wrong."
    assert OtherProcessError().hint
