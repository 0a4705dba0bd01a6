from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ConfigError
from zoo.plugins.options import NoOptions, OptionInfo, check_value, describe_options, make_options, option, parse_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    hidden: int = option(512, minimum=1, maximum=4096, help="width of the hidden layer", group="Shape")
    rate: float = option(0.1, minimum=0, maximum=1, help="dropout")
    activation: Literal["relu", "gelu", "silu"] = option("relu", help="activation")
    bits: Literal[8, 16] = option(8, help="precision")
    bias: bool = option(True, help="whether to add a bias")
    title: str = option("", help="any text")
    limit: int | None = option(None, minimum=1, help="an upper limit")
    old_style: Optional[float] = option(None, help="optional, as it used to be written")  # noqa: UP045


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    path_like: str = option(help="must be given")


def make(**values: Any) -> Options:
    return make_options(Options, values, owner="head mlp")


def refused(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(**values)
    return str(caught.value)


def info(name: str) -> OptionInfo:
    return next(i for i in describe_options(Options) if i.name == name)


def test_options_are_described_in_the_order_of_the_fields() -> None:
    assert [i.name for i in describe_options(Options)] == [
        "hidden", "rate", "activation", "bits", "bias", "title", "limit", "old_style",
    ]  # fmt: skip


def test_a_description_has_type_bounds_default_and_help() -> None:
    hidden = info("hidden")
    assert hidden == OptionInfo(
        name="hidden",
        type=int,
        optional=False,
        default=512,
        required=False,
        choices=(),
        minimum=1,
        maximum=4096,
        help="width of the hidden layer",
        group="Shape",
    )
    assert hidden.describe() == "hidden (int >= 1 <= 4096, default 512): width of the hidden layer"
    assert info("activation").describe() == "activation (relu | gelu | silu, default relu): activation"
    assert describe_options(Required)[0].describe() == "path_like (str, required): must be given"


def test_both_spellings_of_optional_types_are_recognised() -> None:
    assert info("limit").optional
    assert info("old_style").optional
    assert info("old_style").type is float
    assert not info("hidden").optional


def test_fields_that_text_cannot_set_are_left_out() -> None:
    @dataclass(frozen=True)
    class Mixed:
        either: int | str = 1
        folder: Path = Path()
        sizes: tuple[int, ...] = (1,)
        computed: int = field(default=3, init=False)
        plain: int = 2

    assert [i.name for i in describe_options(Mixed)] == ["plain"]


def test_a_number_may_also_be_a_literal() -> None:
    @dataclass(frozen=True)
    class Sized:
        size: int | Literal["auto"] | None = option(32, minimum=1, help="images")

    (info,) = describe_options(Sized)
    assert (info.type, info.literals, info.optional, info.choices) == (int, ("auto",), True, ())
    assert info.describe() == "size (int | auto >= 1, default 32): images"
    values = [check_value(info, text, owner="x") for text in ("auto", "AUTO", "64", 8, "none")]
    assert values == ["auto", "auto", 64, 8, None]
    for wrong, words in (("car", "not a whole number or auto"), ("0", "out of bounds")):
        with pytest.raises(ConfigError, match=words):
            check_value(info, wrong, owner="x")


def test_a_default_factory_gives_the_default() -> None:
    @dataclass(frozen=True)
    class Made:
        name: str = field(default_factory=lambda: "made", metadata={"help": "created"})

    (described,) = describe_options(Made)
    assert not described.required
    assert described.default == "made"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("hidden", "64", 64),
        ("hidden", 64.0, 64),
        ("rate", "0.5", 0.5),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("activation", "gelu", "gelu"),
        ("bits", "16", 16),
        ("bias", "No", False),
        ("bias", "on", True),
        ("bias", False, False),
        ("title", "none", "none"),
        ("limit", "none", None),
        ("limit", None, None),
        ("limit", "3", 3),
        ("old_style", "None", None),
    ],
)
def test_text_and_typed_values_are_parsed(name: str, text: Any, value: Any) -> None:
    parsed = getattr(make(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hidden", "many", "option 'hidden' is 'many', not a whole number"),
        ("hidden", "1.5", "not a whole number"),
        ("hidden", 1.5, "not a whole number"),
        ("hidden", True, "not a whole number"),
        ("hidden", [1], "not a whole number"),
        ("hidden", "0", "option 'hidden' is '0', out of bounds"),
        ("hidden", 4097, "out of bounds"),
        ("hidden", None, "option 'hidden' cannot be none"),
        ("rate", "nan", "not a finite number"),
        ("old_style", "inf", "not a finite number"),
        ("old_style", 10**400, "not a finite number"),
        ("activation", "gellu", "Did you mean gelu"),
        ("bits", "12", "8 | 16"),
        ("bias", "maybe", "not yes or no"),
        ("bias", 1, "not yes or no"),
        ("title", 3, "not text"),
        ("limit", "0", "out of bounds"),
    ],
)
def test_wrong_values_are_refused_with_a_reason(name: str, value: Any, words: str) -> None:
    message = refused(**{name: value})
    assert message.startswith("head mlp: option ")
    assert words in message
    assert f"{name} (" in message, "the hint describes the option"


def test_hyphens_are_underscores() -> None:
    assert make(**{"old-style": "0.5"}).old_style == 0.5


def test_an_unknown_option_lists_the_known_ones() -> None:
    message = refused(hiden="3")
    assert "head mlp has no option 'hiden'.\nDid you mean hidden?" in message
    assert "rate (float >= 0 <= 1, default 0.1): dropout" in message
    with pytest.raises(ConfigError, match="It has no options"):
        make_options(NoOptions, {"x": "1"}, owner="head linear")


def test_a_required_option_must_be_set() -> None:
    with pytest.raises(ConfigError, match="head x requires the option 'path_like'"):
        make_options(Required, {}, owner="head x")
    assert make_options(Required, {"path_like": "a"}, owner="head x").path_like == "a"


@pytest.mark.parametrize(
    ("owner", "start"),
    [
        ("head x", "Set it with --head-option path_like=VALUE. path_like (str, required): "),
        ("dataset x", "Set it with --data-option path_like=VALUE. path_like (str, required): "),
        ("finetune", "path_like (str, required): "),
    ],
)
def test_the_hint_of_a_required_option_says_how_to_set_it(owner: str, start: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_options(Required, {}, owner=owner)
    assert caught.value.hint.startswith(start)


def test_a_value_error_of_the_dataclass_is_a_config_error() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Even:
        n: int = 2

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("n must be even")

    with pytest.raises(ConfigError, match="head even: n must be even"):
        make_options(Even, {"n": "3"}, owner="head even")


@settings(deadline=None)  # a shared machine may stall
@given(st.integers(1, 4096), st.floats(0, 1))
def test_the_repr_of_a_value_is_parsed_back(hidden: int, rate: float) -> None:
    made = make(hidden=str(hidden), rate=repr(rate))
    assert (made.hidden, made.rate) == (hidden, rate)


@settings(deadline=None)
@given(st.text() | st.floats() | st.integers() | st.none() | st.booleans())
def test_any_value_is_parsed_or_refused(value: Any) -> None:
    for described in describe_options(Options):
        try:
            parsed = check_value(described, value, owner="x")
        except ConfigError:
            continue
        assert parsed is None or isinstance(parsed, described.type)


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(("a=1", " b = x=y "), flag="--head-option") == {"a": "1", "b": "x=y"}
    assert parse_pairs((), flag="--head-option") == {}


@pytest.mark.parametrize("pair", ["hidden", "=5", " =5", ""])
def test_a_pair_without_name_or_equals_sign_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form NAME=VALUE") as caught:
        parse_pairs((pair,), flag="--head-option")
    assert caught.value.hint == "Example: --head-option hidden=512"
