import json
import subprocess
import sys

import timm

from zoo_timm.family import TimmOptions, list_names, resolve


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
    assert json.loads(cache.read_text()) == {"timm": timm.__version__, "names": names}
    assert [file.name for file in tmp_path.iterdir()] == ["timm-names.json"]
    for stale in ('{"timm": "0.1", "names": ["old"]}', "{half a f", "[]"):
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
