"""What the look-around commands import, and what they leave alone."""

import ast
import os
import subprocess
import sys

import pytest

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
    ],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(tmp_path, args):
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


def test_every_public_name_is_there():
    import zoo

    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert set(zoo.__all__) <= set(dir(zoo))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        zoo.nosuch  # noqa: B018
