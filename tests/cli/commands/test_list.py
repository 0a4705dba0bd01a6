import json
import time

import pytest

from zoo.cli.listing import Listing


def test_lists_every_kind_and_families_in_one_line(run_zoo, make_run):
    make_run()
    code, out, err = run_zoo("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Backbones (1)"
    assert "  tiny      torchvision         A tiny network." in lines
    assert "  timm/...  timm                Many networks. ('zoo list WORD' searches them)" in lines
    assert "Heads (2)" in lines
    assert "Datasets (1)" in lines
    assert "  tiny-linear-dogs-1  tiny      linear  dogs  93.1 % ± 1.8  3 min 12 s" in lines
    assert lines[-1] == "Also, as WORD: recipes (2)."


def test_what_is_on_this_machine_is_marked(run_zoo, plugins, local):
    plugins.append(local)
    lines = run_zoo("list").out.splitlines()
    assert "Backbones (3)" in lines
    assert "  name          plugin       local  summary" in lines
    assert "  acme/fast     acme         yes    A tiny network." in lines
    assert "  acme/fetched  acme         yes" in lines  # of the family, which else is one line
    assert "  acme/cats  acme      yes    Photos of cats." in lines
    assert "  name    plugin  summary" in lines  # heads have neither weights nor photos
    listed = json.loads(run_zoo("list", "--json").out)
    assert {entry["qualified"]: entry["local"] for entry in listed["backbones"]} == {
        "torchvision/tiny": False,
        "acme/fast": True,
        "acme/fetched": True,
        "timm/...": None,
        "acme/...": None,
    }
    assert {entry["local"] for entry in listed["heads"]} == {None}
    assert [entry["local"] for entry in listed["datasets"]] == [False, True]


def test_a_word_searches_families_and_each_name_resolves(run_zoo):
    out = run_zoo("list", "TINY", "--kind", "backbones").out
    names = [line.split()[0] for line in out.splitlines()[2:] if line]
    # 'tiny' is torchvision's, so timm's needs its qualified name.
    assert names == ["tiny", "timm/tiny", "tiny_v2"]


def test_a_word_is_searched_in_summaries_too(run_zoo):
    out = run_zoo("list", "photos").out
    assert "dogs" in out
    assert "Heads" not in out


def test_all_lists_families_name_by_name(run_zoo):
    assert "  vast       timm" in run_zoo("list", "--all").out


def test_json_holds_the_same(run_zoo, make_run):
    make_run()
    listed = json.loads(run_zoo("list", "--json").out)
    assert [entry["qualified"] for entry in listed["backbones"]] == ["torchvision/tiny", "timm/..."]
    assert listed["backbones"][1]["family"]
    assert [entry["name"] for entry in listed["heads"]] == ["linear", "mlp"]
    assert listed["runs"][0]["accuracy"] == 0.931
    assert json.loads(run_zoo("list", "--json", "--kind", "heads").out).keys() == {"heads"}


def test_without_a_match_a_message_is_printed(run_zoo):
    code, out, _ = run_zoo("list", "nosuch")
    assert code == 1
    assert out == "Nothing matches 'nosuch'.\n"


def test_a_failed_plugin_is_a_warning_on_stderr(run_zoo, plugins, broken):
    plugins.append(broken)
    code, out, err = run_zoo("list")
    assert code == 0
    assert "tiny" in out
    assert err == "warning: The plugin acme:broken failed; 'zoo plugins' shows why.\n"


def test_quiet_hides_warnings(run_zoo, plugins, broken, raising):
    plugins += [broken, raising]
    assert run_zoo("list", "tiny", "--quiet").err == ""
    assert run_zoo("list", "nosuch", "--quiet") == (1, "", "")


def test_a_family_that_fails_is_a_warning_and_the_others_are_listed(run_zoo, plugins, raising):
    plugins.append(raising)
    code, out, err = run_zoo("list", "tiny")
    assert code == 0
    assert (
        err
        == "warning: The plugin acme:raising failed while listing the names of 'ghosts': ZeroDivisionError: 1 / 0.\n"
    )
    assert "timm/tiny" in out


def test_a_third_party_entry_has_its_qualified_name(run_zoo, plugins, third_party):
    plugins.append(third_party)
    assert "  acme/tiny  acme                A tiny network." in run_zoo("list").out.splitlines()


def test_slow_families_are_explained_on_stderr(run_zoo, monkeypatch):
    import zoo.cli.commands.list as module

    monkeypatch.setattr(module, "_SECONDS_UNTIL_NOTICE", 0.0)
    monkeypatch.setattr(module, "list_entries", lambda *_, **__: time.sleep(0.2) or Listing([], []))
    assert run_zoo("list", "x").err.startswith("Importing libraries to list their names")


@pytest.mark.parametrize("kind", ["backbon", "nosuch"])
def test_a_wrong_kind_is_wrong_usage(run_zoo, kind):
    code, _, err = run_zoo("list", "--kind", kind)
    assert code == 2
    assert "'backbones', 'heads', 'datasets', 'recipes', 'optimizers'," in err


@pytest.mark.parametrize(("singular", "plural"), [("backbone", "backbones"), ("export-target", "export-targets")])
def test_a_kind_may_be_named_in_the_singular(run_zoo, singular, plural):
    assert run_zoo("list", "--kind", singular) == run_zoo("list", "--kind", plural)
    assert run_zoo("list", "--kind", singular).code < 2


def test_a_kind_is_listed_by_its_plural_as_word(run_zoo):
    code, out, _ = run_zoo("list", "heads")
    assert code == 0
    assert out == run_zoo("list", "--kind", "heads").out
    assert run_zoo("list", "export-targets").code == 1


def test_a_word_is_searched_in_every_kind(run_zoo, plugins, losses):
    plugins.append(losses)
    code, out, _ = run_zoo("list", "hinge")
    assert code == 0
    assert out.startswith("Losses (1)")
    assert run_zoo("list").out.endswith("Also, as WORD: recipes (2), losses (1).\n")
