"""Hints name the command that installs into the environment of the program, whatever manages it."""

import sys

import pytest

from zoo.plugins.distributions import missing_package
from zoo.utils.installer import install_command, pip_command


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_pip_installs_into_an_ordinary_environment(prefix):
    assert install_command("timm") == "pip install timm"
    assert install_command("acme-nets[large]>=2") == "pip install 'acme-nets[large]>=2'"


def test_pipx_injects_into_a_tool_of_its_own(prefix):
    (prefix / "pipx_metadata.json").write_text("{}")
    assert install_command("acme-nets") == f"pipx inject {prefix.name} acme-nets"


def test_uv_installs_a_tool_again_with_all_that_it_had(prefix):
    receipt = prefix / "uv-receipt.toml"
    receipt.write_text(
        '[tool]\nrequirements = [{ name = "finetune-zoo-runtime", directory = "/src/zoo" }, '
        '{ name = "acme", extras = ["gpu"], specifier = ">=2" }, { name = "other" }]\n'
    )
    assert install_command("timm") == "uv tool install --with 'acme[gpu]>=2' --with other --with timm /src/zoo"
    assert install_command("other") == "uv tool install --with 'acme[gpu]>=2' --with other /src/zoo"


@pytest.mark.parametrize("content", ["", "[tool", "[tool]\nrequirements = []", "[tool]\nrequirements = [3]"])
def test_a_receipt_of_another_version_names_the_tool(prefix, content):
    (prefix / "uv-receipt.toml").write_text(content)
    assert install_command("timm") == "uv tool install --with finetune-zoo --with timm finetune-zoo-runtime"


def test_repairs_go_through_the_tool_that_made_the_environment(prefix):
    assert pip_command("install", "--no-deps", "timm[x]") == "pip install --no-deps 'timm[x]'"
    (prefix / "pipx_metadata.json").write_text("{}")
    assert pip_command("uninstall", "-y", "timm") == f"pipx runpip {prefix.name} uninstall -y timm"
    (prefix / "uv-receipt.toml").write_text("")
    assert pip_command("uninstall", "-y", "timm") == f"uv pip uninstall -y timm --python {prefix}"


def test_what_the_smaller_distribution_lacks_is_added_to_the_tool(prefix):
    (prefix / "pipx_metadata.json").write_text("{}")
    assert missing_package("It needs torch.").hint.endswith(f": pipx inject {prefix.name} finetune-zoo")
