"""What `import zoo` and the commands that only list and describe import, and what they do not."""

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import zoo

HEAVY = ("torch", "timm", "torchvision", "gradio", "onnxruntime", "numpy", "scipy", "matplotlib", "PIL")

PROGRAM = """
import sys
from zoo.cli.main import main
try:
    main()
finally:
    sys.stdout.flush()
    print(sorted(sys.modules), file=sys.stderr)
"""


def imported(*args, cwd):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "ZOO_HOME": str(cwd)},
        check=True,
    )
    return set(ast.literal_eval(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "--json"],
        ["plugins"],
        ["plugins", "--json"],
        ["runs"],
        ["info", "d2l"],
        ["info", "linear"],
        ["info", "hotdog"],
        ["finetune", "--help"],
        ["data", "check", "--help"],
        ["compare", "--help"],
        ["tune", "--help"],
    ],
    ids=" ".join,
)
def test_listing_and_describing_imports_nothing_heavy(tmp_path, args):
    modules = imported(*args, cwd=tmp_path)
    assert not modules & set(HEAVY)
    assert "rich" not in modules  # the output is no terminal


def test_help_imports_no_command_and_nothing_that_costs_time(tmp_path):
    modules = imported("--help", cwd=tmp_path)
    assert not {name for name in modules if name.startswith("zoo.cli.commands")}
    assert not {"zoo.plugins.specs", "zoo.config", "dataclasses", "importlib.metadata"} & modules


def test_the_package_imports_nothing_but_itself():
    program = "import sys; before = set(sys.modules); import zoo; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pluggy", "dataclasses", "torch", "numpy"} & set(done.stdout.split())


def test_every_public_name_can_be_imported():
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert {*zoo.__all__, "__version__"} <= set(dir(zoo))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        zoo.nosuch  # noqa: B018


def test_type_checkers_see_the_same_names_as_the_table_of_exports():
    tree = ast.parse(Path(zoo.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert all(alias.name == alias.asname for node in imports for alias in node.names)
    assert {node.module: tuple(alias.name for alias in node.names) for node in imports} == zoo._EXPORTS


def test_the_version_is_that_of_the_distribution():
    assert zoo.__version__ == version("finetune-zoo-runtime") == version("finetune-zoo")
