"""A new kind of plugin needs a hook, a spec and an entry in the table; everything else follows from the table."""

import json
import os
import subprocess
import sys

import pytest

import zoo
from zoo.plugins.kinds import BACKBONE, DATASET, EXPORT_TARGET, HEAD, KINDS, LOSS, Kind
from zoo.plugins.specs import Spec

# What a developer would add to zoo/plugins/hookspecs.py, specs.py and kinds.py.
NEW_KIND = """
from dataclasses import dataclass
from zoo.plugins import hookspecs, kinds
from zoo.plugins.specs import Spec

@hookspecs.hookspec
def zoo_sauces():
    "Returns sauces."

@dataclass(frozen=True, slots=True, kw_only=True)
class SauceSpec(Spec):
    mix: object = list

hookspecs.zoo_sauces = zoo_sauces
kinds.KINDS += (kinds.Kind(name="sauce", spec=SauceSpec),)
"""
PLUGIN = """
from dataclasses import dataclass
from sauces import SauceSpec
import zoo

@dataclass(frozen=True, slots=True, kw_only=True)
class SauceOptions:
    sugar: int = zoo.option(3, minimum=0, help="spoons")

@zoo.hookimpl
def zoo_sauces():
    return [SauceSpec(name="ketchup", summary="Red.", mix="zoo_sauce_kitchen:mix", options=SauceOptions)]
"""
CLI = "import sauces; from zoo.cli.main import main; main()"
CONTRACT_KIT = """
import sauces, zoo_sauce
from dataclasses import dataclass
from types import SimpleNamespace
import zoo
from zoo.testing import check_plugin
check_plugin(zoo_sauce)

@dataclass(frozen=True)
class Unhelpful:
    depth: int = 1

@zoo.hookimpl
def zoo_sauces():
    return [sauces.SauceSpec(name="mayonnaise", options=Unhelpful)]

check_plugin(SimpleNamespace(zoo_sauces=zoo_sauces))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs code in a new process, with the new kind and a plugin that offers it; arguments follow the code."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sauces.py").write_text(NEW_KIND)
    (folder / "zoo_sauce.py").write_text(PLUGIN)
    metadata = folder / "zoo_sauce-1.0.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("[zoo]\nsauce = zoo_sauce\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}

    def run(code, *arguments):
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)

    return run


def test_a_new_kind_is_listed(python):
    listed = json.loads(python(CLI, "list", "--kind", "sauces", "--json").stdout)
    qualified = "zoo-sauce/ketchup"
    entry = {"kind": "sauces", "name": qualified, "qualified": qualified, "summary": "Red."}
    assert listed == {"sauces": [entry | {"family": False, "local": None}]}
    assert "Sauces (1)" in python(CLI, "list", "ketchup").stdout


def test_a_new_kind_is_described(python):
    done = python(CLI, "info", "ketchup")
    assert done.returncode == 0, done.stderr
    assert "zoo-sauce/ketchup, a sauce" in done.stdout
    assert "zoo-sauce:sauce" in done.stdout
    assert "(int >= 0, default 3): spoons" in done.stdout
    (described,) = json.loads(python(CLI, "info", "ketchup", "--json").stdout)
    assert (described["kind"], described["options"][0]["name"]) == ("sauce", "sugar")


def test_plugins_shows_a_new_kind(python):
    listed = json.loads(python(CLI, "plugins", "--json").stdout)
    assert [plugin["sauces"] for plugin in listed if plugin["key"] == "zoo-sauce:sauce"] == [["ketchup"]]
    assert "1 sauce" in python(CLI, "plugins").stdout


def test_a_misspelt_name_of_a_new_kind_is_suggested(python):
    done = python(CLI, "info", "ketchpu")
    assert done.returncode == 1
    assert "No plugin offers 'ketchpu', and there is no such run in runs/." in done.stderr
    assert "Did you mean zoo-sauce/ketchup?" in done.stderr


def test_the_contract_kit_checks_a_new_kind(python):
    done = python(CONTRACT_KIT)
    assert "AssertionError: sauce mayonnaise: the option 'depth' must have a line of help" in done.stderr
    assert "ketchup" not in done.stderr


def test_the_names_of_a_kind_follow_from_its_name():
    kind = Kind(name="sauce", spec=Spec)
    assert (kind.plural, kind.hook, kind.accepted_types) == ("sauces", "zoo_sauces", (Spec,))
    assert BACKBONE.accepted_types == (zoo.BackboneSpec, zoo.BackboneFamily)
    assert kind.find_fault(Spec(name="ketchup")) == ""


def test_the_names_of_irregular_kinds():
    assert (LOSS.plural, LOSS.hook) == ("losses", "zoo_losses")
    assert EXPORT_TARGET.word == "export-targets"
    assert EXPORT_TARGET.hook == "zoo_export_targets"


def test_only_what_users_choose_first_is_listed_unless_asked_for():
    assert [kind for kind in KINDS if kind.listed] == [BACKBONE, HEAD, DATASET]
