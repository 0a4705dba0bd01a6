import subprocess
import sys

from torchvision.models import get_model_weights

from zoo_torchvision import zoo_backbones
from zoo_torchvision.cache import FILES


def test_the_files_are_those_of_torchvision():
    """Fails if torchvision offers better weights of a network; its list may then be printed anew."""
    urls = {spec.name: get_model_weights(spec.name).DEFAULT.url for spec in zoo_backbones()}
    assert {name: url.rpartition("/")[2] for name, url in urls.items()} == FILES


def test_only_the_best_weights_count_as_local(offline):
    folder = offline / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("resnet18-f37072fd.pth", "resnet50-0676ba61.pth", "vgg11-8a719046.pth.partial"):
        (folder / name).touch()
    assert [spec.name for spec in zoo_backbones() if spec.is_local()] == ["resnet18"]


def test_looking_for_weights_imports_nothing_heavy():
    code = (
        "import sys, zoo_torchvision; [spec.is_local() for spec in zoo_torchvision.zoo_backbones()]; "
        "print(sorted({'torch', 'torchvision', 'urllib.request'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
