import json

import pytest
from run_files import write_json_record

from zoo.config import make_config
from zoo.runs.exports import record_export


def test_a_backbone_is_built_and_counted(run_zoo):
    code, out, err = run_zoo("info", "tiny")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "torchvision/tiny, a backbone"
    assert "  input          32 x 32 pixels" in lines
    assert any("shorter side to 36, centre crop, bilinear" in line for line in lines)
    assert "  weights        V1, ImageNet top-1 61.2 %" in lines
    assert "  licence        CC0-1.0" in lines
    # 3 * 8 * 9 + 8 and 8 * 16 * 9 + 16
    assert "  parameters     1.4 k (1,392), without a head" in lines
    assert "    1  stem          224" in lines
    assert "    2  body        1.2 k" in lines


def test_a_member_of_a_family_is_found_by_its_bare_and_its_qualified_name(run_zoo):
    assert run_zoo("info", "vast").out.startswith("timm/vast, a backbone")
    assert run_zoo("info", "timm/tiny").out.startswith("timm/tiny, a backbone")


def test_a_head_with_its_options(run_zoo):
    out = run_zoo("info", "mlp").out
    assert "heads/mlp, a head" in out
    assert "Options, set with --head-option NAME=VALUE" in out
    assert "    hidden  (int >= 1, default 512): Width of the hidden layer." in out.splitlines()


def test_a_dataset_with_its_licence_and_its_folder(run_zoo, tmp_path):
    out = run_zoo("info", "datasets/dogs").out
    assert "licence  CC-BY-4.0" in out
    assert f"{tmp_path / 'home' / 'datasets' / 'dogs'} (not downloaded yet)" in out
    (tmp_path / "home" / "datasets" / "dogs").mkdir(parents=True)
    assert "not downloaded yet" not in run_zoo("info", "dogs").out


def test_what_is_on_this_machine_is_marked(run_zoo, plugins, local):
    plugins.append(local)
    assert "  weights        V1, ImageNet top-1 61.2 %, on this machine" in run_zoo("info", "fast").out.splitlines()
    assert "on this machine" not in run_zoo("info", "tiny").out
    assert "not downloaded yet" not in run_zoo("info", "cats").out
    ((fast,), (cats,)) = (json.loads(run_zoo("info", name, "--json").out) for name in ("fast", "cats"))
    assert (fast["local"], cats["local"], cats["present"]) == (True, True, False)


def test_a_recipe(run_zoo):
    lines = run_zoo("info", "d2l").out.splitlines()
    assert lines[0] == "recipes/d2l, a recipe"
    assert "    --weight-decay        0.001" in lines
    assert "    --decay-norms         yes" in lines
    assert "  With --weights none" in lines


def test_everything_with_the_name_is_described(run_zoo, plugins, same_name):
    plugins.append(same_name)
    out = run_zoo("info", "tiny").out
    assert "torchvision/tiny, a backbone" in out
    assert "acme/tiny, a head" in out


def test_json(run_zoo):
    (backbone,) = json.loads(run_zoo("info", "tiny", "--json").out)
    assert backbone["kind"] == "backbone"
    assert backbone["size"]["parameters"] == 1392
    assert backbone["size"]["stages"] == [["stem", 224], ["body", 1168]]
    assert backbone["preprocess"]["size"] == [32, 32]
    (head,) = json.loads(run_zoo("info", "mlp", "--json").out)
    assert head["options"][0]["type"] == "int"


@pytest.mark.parametrize(
    ("name", "near"), [("mpl", "heads/mlp"), ("dgos", "datasets/dogs"), ("tinny", "torchvision/tiny")]
)
def test_an_unknown_name_suggests_close_matches(run_zoo, name, near):
    code, out, err = run_zoo("info", name)
    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first == f"error: No plugin offers '{name}', and there is no such run in runs/."
    assert second.startswith("Did you mean")
    assert near in second


def test_a_run_by_its_path_its_name_and_its_tag(run_zoo, make_run):
    folder = make_run("r-1")
    (folder / "model.safetensors").write_bytes(b"weights")
    run_zoo("runs", "tag", "r-1", "dogs")
    code, out, err = run_zoo("info", "r-1")
    assert (code, err) == (0, "")
    assert run_zoo("info", folder).out.splitlines()[1:] == out.splitlines()[1:]
    assert run_zoo("info", "dogs@1").out == out
    assert run_zoo("info", "r-1", "--runs", folder.parent).out.splitlines()[0] == f"{folder}, a run"
    lines = out.splitlines()
    assert lines[0] == "runs/r-1, a run"
    for line in (
        "  status    finished, took 3 min 12 s",
        "  created   2026-01-01 00:00 UTC",
        "  tags      dogs@1",
        "  backbone  torchvision/tiny",
        "  data      dogs, 2 classes (cat, dog)",
        "    test     93.1 %  91.1 % to 94.7 %     800                  -         -     -                  -",
    ):
        assert line in lines
    assert ["model.safetensors", "7", "B"] in map(str.split, lines)


def test_a_run_lists_the_settings_that_differ_from_its_recipe(run_zoo, make_run):
    folder = make_run()
    config = make_config("tiny", data="dogs", epochs=3, head_options={"hidden": "8"}).to_dict()
    write_json_record(folder, {"status": "finished", "config": config})
    lines = run_zoo("info", folder).out.splitlines()
    start = lines.index("  Settings that differ from the recipe 'default'; --json lists all")
    assert [line.split() for line in lines[start + 1 : lines.index("", start)]] == [
        ["--weights", "pretrained"],
        ["--head-option", "hidden=8"],
        ["--epochs", "3"],
        ["--freeze", config["freeze"]],
    ]
    config["recipe"] = "of-a-plugin"
    write_json_record(folder, {"status": "finished", "config": config})
    assert "Settings; the recipe 'of-a-plugin' is not known here" in run_zoo("info", folder).out
    (run,) = json.loads(run_zoo("info", folder, "--json").out)
    assert (run["kind"], run["settings"]["epochs"], run["changed"]) == ("run", 3, None)


def test_a_run_in_json(run_zoo, make_run):
    make_run("r-1")
    (run,) = json.loads(run_zoo("info", "r-1", "--json").out)
    assert run["results"]["test"]["interval"] == [0.911, 0.947]
    assert run["files"].keys() == {"run.json"}
    assert run["tags"] == []


def test_an_offer_and_a_run_of_one_name_are_both_shown(run_zoo, make_run):
    make_run("tiny")
    out = run_zoo("info", "tiny").out
    assert out.startswith("torchvision/tiny, a backbone\n")
    assert "\n\nruns/tiny, a run\n" in out
    assert [each["kind"] for each in json.loads(run_zoo("info", "tiny", "--json").out)] == ["backbone", "run"]


def test_a_run_with_a_misspelt_name_is_suggested(run_zoo, make_run):
    make_run("photos-of-dogs")
    assert run_zoo("info", "photos-of-dosg").err.splitlines()[1] == "Did you mean photos-of-dogs?"


def test_a_run_with_odd_values_is_shown(run_zoo, make_run):
    folder = make_run(results={"test": {"accuracy": "high", "interval": 3}, "val": 7, "seconds": "long"})
    code, out, err = run_zoo("info", folder)
    assert (code, err) == (0, "")
    assert "Results" not in out


def test_a_run_lists_its_exports(run_zoo, make_run):
    folder = make_run("r-1")
    (folder / "model.bin").write_bytes(b"w")
    source = {"target": "acme/text", "plugin": "acme:text", "version": "1.2", "exported": "2026-01-02T03:04:05+00:00"}
    record_export(folder, folder / "model.bin", **source, verified=False)
    lines = run_zoo("info", "r-1").out.splitlines()
    row = lines.index("  Exports") + 2
    assert lines[row].split() == ["model.bin", "acme/text", "1.2", "no", "2026-01-02"]
    (described,) = json.loads(run_zoo("info", "r-1", "--json").out)
    assert described["exports"] == [{"file": "model.bin", **source, "verified": False}]
