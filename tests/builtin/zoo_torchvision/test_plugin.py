import subprocess
import sys


def test_listing_the_networks_imports_no_torch():
    code = "import sys, zoo_torchvision as z; assert len(z.zoo_backbones()) == 80; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
