"""``zoo sign`` and ``zoo verify``, as a user types them."""

import json

import pytest


def test_modified_byte_is_found_after_signing(runs, zoo_command, flip_last_bit):
    pytest.importorskip("model_signing", reason="needs the extra finetune-zoo[sign]")
    assert "mine.pub" in zoo_command("sign", "--new-key", "mine")
    assert zoo_command("sign", "r-1", "--key", "mine").strip().endswith("model.sig")
    out = zoo_command("verify", "r-1", "--key", "mine.pub")
    assert "ok      signature: model.sig was made with mine.pub, and nothing has changed since" in out
    assert zoo_command("verify", "r-1", "--key", "mine.pub", "--quiet") == ""
    flip_last_bit(runs / "r-1" / "model.safetensors")
    out = zoo_command("verify", "r-1", "--key", "mine.pub", code=1)
    assert out.splitlines()[:2] == ["failed  manifest: 1 file differs", "        changed: model.safetensors"]
    assert "failed  signature: 1 file differs\n        changed: model.safetensors" in out
    results = json.loads(zoo_command("verify", "r-1", "--json", code=1))
    assert [(result["about"], result["ok"]) for result in results] == [("manifest", False), ("weights", False)]
    assert "differs from its manifest.json" in zoo_command("sign", "r-1", "--key", "mine", code=1)


def test_quiet_prints_only_the_signature(runs, zoo_command):
    pytest.importorskip("model_signing", reason="needs the extra finetune-zoo[sign]")
    assert zoo_command("sign", "r-1", "--new-key", "mine", "-q") == "runs/r-1/model.sig\n"


def test_quiet_verify_prints_only_failures(runs, zoo_command, flip_last_bit):
    assert zoo_command("verify", "r-1", "-q") == ""
    flip_last_bit(runs / "r-1" / "model.safetensors")
    out = zoo_command("verify", "r-1", "-q", code=1)
    assert [line.split(":")[0] for line in out.splitlines() if line[0] != " "] == [
        "failed  manifest",
        "failed  weights",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("sign", "r-1"), "Pass the key to sign with"),
        (("sign", "--key", "k"), "Pass a run or a file to sign"),
        (("sign", "r-1", "--key", "k", "--new-key", "l"), "Pass the key to sign with"),
    ],
)
def test_wrong_usage_is_explained(runs, zoo_command, args, message):
    assert message in zoo_command(*args, code=2)
