import subprocess
import sys

from zoo.plugins.kinds import DATASET
from zoo.plugins.registry import load_registry


def test_both_datasets_have_qualified_names():
    registry = load_registry()
    assert registry.find(DATASET, "hotdog").name == "datasets/hotdog"
    assert registry.find(DATASET, "hotdog-cartoon").name == "datasets/hotdog-cartoon"


def test_listing_them_is_light():
    heavy = "{'torch', 'numpy', 'PIL', 'zipfile', 'urllib.request'}"
    code = f"import sys; import zoo_datasets; zoo_datasets.zoo_datasets(); print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
