import click
import pytest

from zoo.cli.commands.options import GroupedCommand, config_options, flag_of, given_values, split_option
from zoo.errors import ConfigError


def parse(command, *args):
    return command.make_context("command", list(args)).params


@pytest.mark.parametrize("flag", ["--split", "--part"])
def test_an_option_accepts_its_former_name(flag):
    command = click.command(cls=GroupedCommand)(split_option(help="Split to show.")(lambda split: None))
    assert parse(command, flag, "val") == {"split": "val"}
    assert parse(command) == {"split": "test"}


def test_help_and_errors_show_only_the_current_name():
    command = click.command(cls=GroupedCommand)(split_option(help="Split to show.")(lambda split: None))
    help_page = command.get_help(click.Context(command))
    assert "--split [train|val|test]  Split to show." in help_page
    assert "--part" not in help_page
    with pytest.raises(click.BadParameter, match="'tst' is not one of") as caught:
        parse(command, "--part", "tst")
    assert "'--split'" in caught.value.format_message()
    assert "--part" not in caught.value.format_message()


def test_options_are_those_of_the_named_fields():
    def names(**which):
        command = click.command(config_options(**which)(lambda **values: None))
        return {parameter.name for parameter in command.params}

    assert names(only=("lr", "data_options")) == {"lr", "data_options"}
    assert "epochs" in names()
    assert names() - names(without=("seed",)) == {"seed"}


def test_only_given_values_are_returned():
    values = {"lr": "0.1", "epochs": None, "head_options": ("hidden=4", "depth=2"), "data_options": ()}
    assert given_values(values) == {"lr": "0.1", "head_options": {"hidden": "4", "depth": "2"}}
    with pytest.raises(ConfigError, match="--head-option 'hidden' is not of the form NAME=VALUE"):
        given_values({"head_options": ("hidden",)})


def test_flags_have_hyphens():
    assert flag_of("label_smoothing") == "--label-smoothing"
