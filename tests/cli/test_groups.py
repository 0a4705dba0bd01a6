import os
import tomllib
from pathlib import Path

import click
import pytest
from plugin_helpers import raising

from zoo.cli import doctor
from zoo.cli.groups import _ONLY_COMPLETE, _WITHOUT_COMMANDS, LazyGroup, _commands_of
from zoo.cli.main import cli
from zoo.errors import ConfigError
from zoo.plugins import distributions
from zoo.plugins.entry_points import find_plugins
from zoo.plugins.hookspecs import RESERVED_COMMANDS
from zoo.plugins.registry import (
    Registry,
    load_registry,  # imported before a test replaces find_plugins
)
from zoo.plugins.specs import Finding


@pytest.mark.parametrize(("typed", "near"), [("fintune", "finetune"), ("lst", "list"), ("new_plugin", "new-plugin")])
def test_an_unknown_command_suggests_close_matches(run, commands, typed, near):
    code, _, err = run(typed)
    assert code == 2
    assert err.startswith(f"error: There is no command '{typed}'.\nDid you mean {near}?")


def test_an_unknown_command_without_close_matches_says_where_all_are_listed(run, commands):
    assert "'zoo --help' lists all commands." in run("qqq")[2]


@pytest.mark.parametrize(
    "arguments",
    [("predict", "run", ""), ("data", "check", ""), ("evaluate", "run", "--data", ""), ("verify", "run", "--runs=")],
)
def test_an_empty_argument_is_not_the_current_folder(run, commands, arguments):
    assert run(*arguments) == (2, "", "error: An argument is empty.\nIs a variable of the shell not set?\n")


def test_an_argument_of_a_command_of_a_plugin_may_be_empty(run, install_plugins):
    def zoo_commands(cli):
        cli.add_command(click.Command("paint", params=[click.Argument(["color"])], callback=click.echo))

    install_plugins(acme=zoo_commands)
    assert run("paint", "") == (0, "\n", "")


def test_the_value_of_an_option_of_a_dataset_may_be_empty(run, commands):
    code, _, err = run("evaluate", "nosuch", "--data-option=color=")
    assert (code, err.splitlines()[0]) == (1, "error: There is no run 'nosuch', neither as a folder nor in runs/.")


def test_a_plugin_adds_commands_eager_and_lazy(run, install_plugins):
    def zoo_commands(cli):
        cli.add_command(click.Command("paint", callback=lambda: click.echo("painted"), help="Paint it."))
        cli.add_lazy("encode", "json:dumps", "Encode it.")

    install_plugins(acme=zoo_commands)
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    section = lines.index(["Plugins:"])
    assert lines[section + 1 : section + 3] == [["encode", "Encode", "it."], ["paint", "Paint", "it."]]
    assert run("paint") == (0, "painted\n", "")


@pytest.mark.parametrize("error", [ImportError("No module\nnamed 'x'"), SystemExit(3)])
def test_a_plugin_that_fails_is_a_warning_and_the_others_work(run, install_plugins, error):
    def zoo_commands(cli):
        cli.add_command(click.Command("paint", help="Paint it."))

    def halfway(cli):
        cli.add_command(click.Command("half"))
        raise ValueError("halfway")

    install_plugins(broken=error, halfway=halfway, good=zoo_commands)
    code, out, err = run("--help")
    assert code == 0
    assert "paint" in out
    assert "half" not in out
    first, second = err.splitlines()
    assert first.startswith(f"warning: The plugin acme:broken cannot add its commands: {type(error).__name__}: ")
    assert second == "warning: The plugin acme:halfway cannot add its commands: ValueError: halfway"


def test_a_plugin_cannot_replace_a_command(run, install_plugins):
    def zoo_commands(cli):
        cli.add_command(click.Command("list", callback=lambda: click.echo("mine")))
        cli.add_command(click.Command("paint"))

    install_plugins(first=zoo_commands, second=zoo_commands)
    _, _, err = run("--help")
    assert err.splitlines() == [
        "warning: The plugin acme:first cannot add 'list': that command belongs to the zoo.",
        "warning: The plugin acme:second cannot add 'list': that command belongs to the zoo.",
        "warning: The plugin acme:second cannot add 'paint': that command belongs to acme:first.",
    ]
    assert run("list", "--kind", "heads")[1] != "mine\n"


def test_a_built_in_command_imports_no_plugin(run, install_plugins):
    install_plugins(broken=ImportError("never imported"))
    assert "acme" not in run("new-plugin", "--help")[2]


def test_blocked_plugins_are_not_imported(run, install_plugins, monkeypatch):
    install_plugins(broken=ImportError("never imported"))
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "acme:broken")
    assert run("--help")[2] == ""


@pytest.mark.filterwarnings("default")
def test_a_blocked_name_that_is_not_a_plugin_is_a_warning(run, install_plugins, monkeypatch):
    install_plugins()
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "other")
    assert run("--help")[2] == "warning: ZOO_BLOCK_PLUGINS names 'other', but no such plugin is installed\n"


def test_a_command_that_cannot_be_imported_is_the_plugins_fault(run, install_plugins):
    install_plugins(nets=lambda cli: cli.add_lazy("train-nets", "no_such_module:command", "Train."))
    code, out, err = run("train-nets")
    assert (code, out) == (1, "")
    assert err.startswith("error: The plugin acme:nets cannot run 'train-nets': ModuleNotFoundError")
    assert "ZOO_BLOCK_PLUGINS=acme:nets" in err


def test_plugins_that_are_skipped_have_no_commands():
    skipped = {p.key.partition(":")[2]: p for p in load_registry().plugins if p.built_in}
    assert {entry for entry in _WITHOUT_COMMANDS if skipped[entry].add_commands} == set()


def test_a_lazy_target_needs_both_halves():
    with pytest.raises(ValueError, match="'module:attribute'"):
        LazyGroup().add_lazy("x", "module", "Help.")


def test_sections_have_an_order_and_those_of_plugins_follow(run, install_plugins):
    def zoo_commands(cli):
        cli.add_lazy("encode", "json:dumps", "Encode it.", section="Codecs")
        cli.add_lazy("ship", "json:dumps", "Ship it.", section="Deploy")

    install_plugins(acme=zoo_commands)
    lines = run("--help")[1].splitlines()
    sections = ["Train:", "Use a run:", "Deploy:", "Explore:", "Set up:", "Codecs:"]
    assert [line for line in lines if line in sections] == sections
    assert lines[lines.index("Deploy:") + 1].split() == ["ship", "Ship", "it."]


def test_built_in_plugins_list_their_commands_in_sections(commands, monkeypatch):
    monkeypatch.setattr(cli, "_plugins_added", False)
    cli.list_commands(click.Context(cli))
    assert {"demo", "export", "convert"} <= set(cli.lazy)
    assert {command.section for command in cli.lazy.values()} <= set(LazyGroup.sections)


def test_the_commands_that_only_the_complete_distribution_has_are_listed():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    entries = {*project["project"]["entry-points"]["zoo"]} - {*_WITHOUT_COMMANDS}
    groups = [_commands_of(plugin) for plugin in find_plugins() if plugin.built_in and plugin.entry in entries]
    assert sorted(name for group in groups for name in [*group.lazy, *group.commands]) == sorted(_ONLY_COMPLETE)


def test_a_command_of_the_complete_distribution_says_what_to_install(run, commands, monkeypatch):
    assert run("demo", "x")[0] == 2  # unknown: nothing is missing
    monkeypatch.setattr(distributions, "is_complete", lambda: False)
    code, _, err = run("demo", "x")
    assert (code, err.splitlines()) == (
        1,
        [
            "error: 'zoo demo' is part of finetune-zoo, which is not installed.",
            "Install it with the rest of the zoo: pip install finetune-zoo",
        ],
    )


def test_a_missing_module_is_a_bug_only_if_everything_is_installed(run, commands, monkeypatch):
    def need():
        raise ModuleNotFoundError("No module named 'nosuch.part'", name="nosuch.part")

    cli.add_command(click.Command("need", callback=need))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["need"], standalone_mode=False)
    monkeypatch.setattr(distributions, "is_complete", lambda: False)
    assert run("need")[2].startswith("error: 'zoo need' needs nosuch, which is not installed.\n")


def test_the_names_that_no_plugin_can_add_are_those_of_the_built_in_commands(commands):
    assert sorted(RESERVED_COMMANDS) == sorted(cli.lazy)


def test_a_plugin_with_a_command_named_finetune_is_named_by_the_commands_about_plugins(run, install_plugins):
    install_plugins(acme=lambda cli: cli.add_command(click.Command("finetune", callback=lambda: click.echo("mine"))))
    warning = "warning: The plugin acme:acme cannot add 'finetune': that command belongs to the zoo.\n"
    code, _, err = run("plugins")
    assert (code, err) == (0, warning)
    assert run("finetune", "--help")[1].startswith("Usage: zoo finetune")


def test_the_doctor_reports_a_command_that_a_plugin_cannot_add(monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", ())
    problems = [("acme:acme", "cannot add 'finetune': that command belongs to the zoo.")]
    _, found = doctor.run_checks(Registry([]), problems=problems)
    assert found.finding == Finding(
        about="acme:acme",
        status="warning",
        text="It cannot add 'finetune': that command belongs to the zoo.",
        advice="Report it to its author.",
    )


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (
            ZeroDivisionError("1 / 0"),
            1,
            "error: The plugin acme:acme failed while running 'paint': ZeroDivisionError: 1 / 0\n"
            "Report it to its author.\n",
        ),
        (ConfigError("No paint."), 1, "error: No paint.\n"),
        (click.ClickException("No paint."), 1, "error: No paint.\n"),
        (click.Abort(), 130, ""),
        (click.exceptions.Exit(4), 4, ""),
    ],
)
def test_a_command_of_a_plugin_that_fails_names_the_plugin(run, install_plugins, error, code, expected):
    install_plugins(acme=lambda cli: cli.add_command(click.Command("paint", callback=raising(error))))
    assert run("paint") == (code, "", expected)


@pytest.mark.filterwarnings("always")
def test_a_plugin_that_changes_settings_while_it_adds_commands_is_a_warning(
    run, install_plugins, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def zoo_commands(cli):
        os.chdir("/")
        cli.add_command(click.Command("paint"))

    install_plugins(acme=zoo_commands)
    code, _, err = run("--help")
    assert code == 0
    assert err == (
        "warning: The plugin acme:acme changed settings of the process while adding its commands: "
        "the working directory. They have been set back.\n"
    )
    assert Path.cwd() == tmp_path
