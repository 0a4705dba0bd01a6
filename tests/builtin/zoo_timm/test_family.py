import json
import subprocess
import sys

import timm
from hub_cache import put_into_hub_cache

from zoo_timm.family import list_local_names, list_names, resolve
from zoo_timm.options import TimmOptions


def test_names_have_optional_tags():
    names = list_names()
    assert {"resnet50d", "resnet18", "resnet18.a1_in1k"} < set(names)
    assert len(names) == len(set(names)) > 1300
    assert resolve("resnet18.nobody") is None
    assert resolve("resnet18.a1_in1k").options is TimmOptions


def test_names_are_cached_for_one_version_of_timm(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    names = list_names()
    cache = tmp_path / "timm-names.json"
    content = json.loads(cache.read_text())
    assert (content["timm"], list(content["names"])) == (timm.__version__, names)
    assert content["names"]["resnet18"] == content["names"]["resnet18.a1_in1k"] == "timm/resnet18.a1_in1k"
    assert content["names"]["nest_small"] == ""  # has no weights
    assert [file.name for file in tmp_path.iterdir()] == ["timm-names.json"]
    earlier = json.dumps({"timm": timm.__version__, "names": names})
    for stale in ('{"timm": "0.1", "names": {"old": ""}}', "{half a f", "[]", earlier):
        cache.write_text(stale)
        assert list_names() == names


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    assert "resnet18" in list_names()


def test_cached_names_resolve_without_importing_timm():
    list_names()
    code = (
        "import sys, zoo_timm.family; "
        "print(zoo_timm.family.resolve('resnet18').name, 'timm' in sys.modules, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["resnet18", "False", "False"]


def test_names_with_weights_in_the_cache_are_local(offline):
    assert list_local_names() == []
    put_into_hub_cache(offline, "timm/resnet18.a1_in1k", "model.safetensors", b"")
    put_into_hub_cache(offline, "timm/resnet34.a1_in1k", "config.json", b"")
    put_into_hub_cache(offline, "acme/resnet18.a1_in1k", "model.safetensors", b"")
    list_names()
    assert list_local_names() == ["resnet18", "resnet18.a1_in1k"]
    assert [resolve(name).is_local() for name in ("resnet18", "resnet18.a1_in1k", "resnet18.tv_in1k")] == [
        True,
        True,
        False,
    ]


def test_local_names_are_found_without_importing_timm(offline, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(offline / "home"))  # without a list of names
    put_into_hub_cache(offline, "timm/resnet18.a1_in1k", "model.safetensors", b"")
    put_into_hub_cache(offline, "timm/ViT-B-16-SigLIP", "model.safetensors", b"")
    code = (
        "import sys, zoo_timm.family; print(*zoo_timm.family.list_local_names(), 'timm' in sys.modules); "
        "print(sorted({'torch', 'huggingface_hub.file_download'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["resnet18.a1_in1k False", "[]"]
    assert not (offline / "home").exists()
