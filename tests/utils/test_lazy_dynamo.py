"""Each test runs in a process of its own, because this one may have imported the real compiler."""

import subprocess
import sys

import pytest

NOTHING_COMPILED = """
import sys
from zoo.utils.lazy_dynamo import defer_dynamo_import
defer_dynamo_import()
import torch, torchvision
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.5)
before = layer.weight.detach().clone()
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
assert not torch.equal(before, layer.weight), "the step did nothing"
assert torch.is_grad_enabled()
assert "torch._dynamo.eval_frame" not in sys.modules and "sympy" not in sys.modules
"""

THEN_COMPILED = """
import torch._dynamo.config
assert torch._dynamo.config.recompile_limit > 0
compiled = torch.compile(lambda x: torch.relu(x) * 2, backend="eager", fullgraph=True)
assert compiled(torch.tensor([-1.0, 3.0])).tolist() == [0.0, 6.0]
assert "torch._dynamo.eval_frame" in sys.modules
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
assert torch._dynamo.utils is sys.modules["torch._dynamo.utils"] and torch._dynamo.utils.__file__
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
"""

TURNED_OFF = """
import os, sys
os.environ["ZOO_LAZY_DYNAMO"] = "0"
from zoo.utils.lazy_dynamo import defer_dynamo_import
defer_dynamo_import()
assert "torch._dynamo" not in sys.modules and "torch._dynamo.utils" not in sys.modules
"""

IMPORTED_BEFORE = """
import sys, types
real = sys.modules["torch._dynamo"] = types.ModuleType("torch._dynamo")
from zoo.utils.lazy_dynamo import defer_dynamo_import
defer_dynamo_import()
assert sys.modules["torch._dynamo"] is real and "torch._dynamo.utils" not in sys.modules
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(NOTHING_COMPILED, id="until something is compiled"),
        pytest.param(NOTHING_COMPILED + THEN_COMPILED, id="and happens then", marks=pytest.mark.slow),
        pytest.param(IMPORTED_BEFORE, id="unless it is imported"),
        pytest.param(TURNED_OFF, id="unless it is turned off"),
    ],
)
def test_the_import_of_the_compiler_is_deferred(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_line_defers_the_import():
    program = "import sys; from zoo.cli.main import main\ntry: main(['--version'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"torch._dynamo", "torch._dynamo.utils"} <= set(done.stdout.split())
    assert "torch" not in done.stdout.split()
