import json

import pytest


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
    assert first == f"error: No plugin offers '{name}'."
    assert second.startswith("Did you mean")
    assert near in second
