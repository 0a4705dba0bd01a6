import pytest

from zoo.config import make_config
from zoo.errors import ConfigError, UnknownNameError
from zoo.training.tuning.parameters import Parameter, drop_unused, find_default, parse_search, to_values


@pytest.fixture
def base(registry):
    return make_config("small", data="colours", head="flat", registry=registry)


@pytest.fixture
def parse(base, registry):
    def parse_one(search, **changes):
        config = make_config("small", data="colours", **{"head": "flat", **changes}, registry=registry)
        return parse_search(search, config, registry)

    return parse_one


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lr", "1e-5..1e-2:log", {"low": 1e-5, "high": 1e-2, "log": True}),
        ("--lr", " 1 .. 2 ", {"low": 1.0, "high": 2.0}),
        ("epochs", "2..9", {"low": 2, "high": 9}),
        ("epochs", "2..9:step=2", {"low": 2, "high": 8, "step": 2}),
        ("dropout", "0..0.5:step=0.1", {"low": 0.0, "high": 0.5, "step": 0.1}),
        ("batch_size", "16..128:log", {"low": 16, "high": 128, "log": True}),
        ("head-lr-multiplier", "1,10", {"choices": (1.0, 10.0)}),
        ("head_lr_multiplier", [1, 10], {"choices": (1.0, 10.0)}),
        ("weight-decay", "auto,0.1", {"choices": ("auto", 0.1)}),
        ("clip-grad", "none,1", {"choices": (None, 1.0)}),
        ("probe", "yes,no", {"choices": (True, False)}),
        ("freeze", "none,60%,all", {"choices": ("none", "60%", "all")}),
        ("weights", "../a..b.pth,none", {"choices": ("../a..b.pth", "none")}),
        ("augment", "none,grayscale,mixup+blur", {"choices": ("none", "grayscale", "mixup+blur")}),
        ("augment", [(), ("grayscale", "blur")], {"choices": ("none", "grayscale+blur")}),
    ],
)
def test_ranges_and_choices(parse, name, text, expected):
    (parameter,) = parse({name: text})
    given = {key: getattr(parameter, key) for key in ("choices", "low", "high", "step", "log")}
    assert given == {"choices": (), "low": 0, "high": 0, "step": None, "log": False, **expected}
    assert [type(choice) for choice in parameter.choices] == [type(choice) for choice in expected.get("choices", ())]
    assert parameter.name == name.strip("-").replace("_", "-")


@pytest.mark.parametrize(
    ("search", "message", "hint"),
    [
        ({}, "nothing to search", "lr=1e-5..1e-2:log"),
        ({"lrr": "1..2"}, "no option 'lrr'", "Did you mean lr?"),
        ({"optimizer-optoin.beta2": "0..1"}, "no option 'optimizer-optoin.beta2'", "Did you mean optimizer-option?"),
        ({"optimizer-option.betta2": "0..1"}, "optimizer adamw has no option 'betta2'", "Did you mean beta2?"),
        ({"optimizer-option": "0,1"}, "names no option", "optimizer-option.NAME"),
        ({"lr": "1..fast"}, "'fast', not a finite number", "lr (float"),
        ({"lr": "fast,slow"}, "'fast', not a finite number", "lr (float"),
        ({"epochs": "1.5..3"}, "'1.5', not a whole number", "epochs (int"),
        ({"epochs": "0..3"}, "out of bounds", "epochs (int >= 1"),
        ({"epochs": "2..8:step=0.5"}, "'0.5', not a whole number above 0", ""),
        ({"lr": "1e-2..1e-5"}, "wrong order", ""),
        ({"lr": "0..1:log"}, "above 0", ""),
        ({"lr": "1..2:log:step=0.1"}, "no steps", ""),
        ({"lr": "1..2:step=3"}, "larger than the range", ""),
        ({"lr": "1..2:ln"}, "':ln' is unknown", ":log or :step=X"),
        ({"batch-size": "auto..64"}, "bounds are not numbers", "batch_size"),
        ({"probe": "0..1"}, "no number", "probe (bool"),
        ({"precision": "fp32,fp23"}, "'fp23'", "fp32"),
        ({"lr": 0.1}, "cannot be of type float", "a list of values"),
        ({"lr": "0.1"}, "nothing to search in 'lr=0.1'", "option of its own"),
        ({"lr": "1,1.0"}, "the value 1 twice", ""),
        ({"lr": "1,2", "--lr": "3,4"}, "searched twice", ""),
        ({"seed": "1,2"}, "cannot be searched", "which photos validate"),
        ({"monitor": "val-loss,val-accuracy"}, "cannot be searched", "what is measured"),
        ({"data-option.size": "1,2"}, "cannot be searched", "which photos are used"),
        ({"augment": "a..b"}, "no number", "augment=none,mixup"),
        ({"augment-option.magnitude": "1..3"}, "no augmentation is chosen", "Search or set"),
        ({"augment": "none,blur", "augment-option.cutmix.alpha": "1..3"}, "'cutmix' is not chosen", ""),
    ],
)
def test_a_wrong_search_names_the_option_and_what_it_takes(parse, search, message, hint):
    with pytest.raises(ConfigError) as caught:
        parse(search)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_name_of_a_plugin_is_reported_with_near_names(parse):
    with pytest.raises(UnknownNameError, match="no optimizer 'admw'") as caught:
        parse({"optimizer": "sgd,admw"})
    assert "adamw" in caught.value.hint


def test_options_of_plugins_are_checked_against_what_is_chosen_or_searched(parse):
    (beta,) = parse({"optimizer-option.beta2": "0.9..0.99"})
    assert (beta.field, beta.key, beta.low, beta.high) == ("optimizer_options", "beta2", 0.9, 0.99)
    assert parse({"optimizer_options.beta2": "0.9..0.99"}) == (beta,)
    nesterov, optimizer = parse({"optimizer-option.nesterov": "yes,no", "optimizer": "adamw,sgd"})
    assert (nesterov.choices, optimizer.choices) == ((True, False), ("adamw", "sgd"))
    (_, area) = parse({"augment": "none,random-erasing", "augment-option.random-erasing.probability": "0..1"})
    assert area.key == "random-erasing.probability"


def test_values_of_a_trial_become_fields(parse, base, registry):
    parameters = parse({"lr": "0.1,0.2", "optimizer-option.beta1": "0..0.9", "augment": "none,mixup+blur"})
    params = {"lr": 0.2, "optimizer-option.beta1": 0.5, "augment": "mixup+blur"}
    assert to_values(parameters, params) == {
        "lr": 0.2,
        "optimizer_options": {"beta1": 0.5},
        "augment": ("mixup", "blur"),
    }
    assert to_values(parameters, {**params, "augment": "none"})["augment"] == ()


def test_options_that_a_trial_has_no_use_for_are_left_out(parse, registry):
    parameters = parse(
        {"optimizer": "adamw,sgd", "optimizer-option.nesterov": "yes,no", "optimizer-option.beta2": "0..0.9"}
    )
    options = {"nesterov": True, "beta2": 0.5}
    for optimizer, left in (("adamw", {"beta2": 0.5}), ("sgd", {"nesterov": True})):
        config = make_config("small", data="colours", optimizer=optimizer, optimizer_options=options, registry=registry)
        assert drop_unused(config, parameters, registry) == {"optimizer_options": left}


def test_the_default_is_a_value_of_the_search_if_it_contains_it(parse, base, registry):
    lr, beta2, multiplier, augment = parse(
        {
            "lr": "1e-5..1e-3",
            "optimizer-option.beta2": "0.9..0.9999",
            "head-lr-multiplier": "5,10",
            "augment": "none,blur",
        }
    )
    defaults = [find_default(each, base, registry) for each in (lr, beta2, multiplier, augment)]
    assert defaults == [5e-4, 0.999, 1.0, "none"]
    assert [each.contains(value) for each, value in zip((lr, beta2, multiplier, augment), defaults, strict=True)] == [
        *(True, True, False, True)
    ]


def test_contains_tells_numbers_from_truth_values_and_knows_steps():
    assert not Parameter(name="a", field="a", choices=(True, False)).contains(1)
    assert not Parameter(name="a", field="a", low=0, high=4, step=2).contains(3)
    assert Parameter(name="a", field="a", low=0.0, high=0.4, step=0.1).contains(0.30000000000000004)
    assert not Parameter(name="a", field="a", low=0, high=1).contains("auto")


@pytest.mark.parametrize("text", ["1e-05..0.01:log", "2..8:step=2", "1,10", "yes,no", "none,0.1"])
def test_a_description_reads_as_the_command_line_does(parse, text):
    names = {"2..8:step=2": "epochs", "yes,no": "probe", "none,0.1": "clip-grad", "1,10": "lr"}
    (parameter,) = parse({names.get(text, "lr"): text})
    assert parameter.describe() == text
