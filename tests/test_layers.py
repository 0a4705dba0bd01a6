"""Which modules may import which. Imports inside functions and for types count, too: what needs them is as tangled."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[1]
# Each layer may import those before it. Rooms of one layer do not know each other.
LAYERS = (
    ("errors",),
    ("events", "preprocess"),
    ("utils",),
    ("display", "data.images"),
    ("plugins",),
    ("recipes",),
    ("config",),
    ("data", "models", "metrics"),
    ("runs",),
    ("report",),
    ("inference",),
    ("training",),
    ("testing",),
    ("",),  # the package itself, which names what is public, and its version
    ("cli",),
    ("__main__",),
)
RANKS = {f"zoo.{room}".rstrip("."): rank for rank, rooms in enumerate(LAYERS) for room in rooms}
PUBLIC = {name: module for module, names in zoo._EXPORTS.items() for name in names}


def find_modules(pattern):
    """Returns the files of some packages by the names of their modules."""
    found = {}
    for package in ROOT.glob(pattern):
        for file in package.rglob("*.py"):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = {
    name: file
    for pattern in ("zoo", "plugins/zoo_*", "export/zoo_*", "demo/zoo_*")
    for name, file in find_modules(pattern).items()
}


def find_imports(file):
    """Yields each module that a file imports, and the line. A name of the package zoo stands for its module."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if node.module == "zoo" and alias.name in PUBLIC:
                    module = PUBLIC[alias.name]
                yield module if module in MODULES else node.module, node.lineno


@pytest.fixture(scope="module")
def imports():
    """The imports of each module: modules of this project, each with the first line that imports it."""
    found = defaultdict(dict)
    for name, file in MODULES.items():
        for module, line in find_imports(file):
            if module in MODULES and module != name:
                found[name].setdefault(module, line)
    return found


def room_of(module):
    """Returns the most specific room that contains a module of the core."""
    rooms = [room for room in RANKS if module == room or (room != "zoo" and module.startswith(f"{room}."))]
    return max(rooms, key=len, default=None)


def test_there_are_no_import_circles(imports):
    assert len(MODULES) > 200
    graph = {name: modules.keys() for name, modules in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_modules_of_the_core_import_only_rooms_below_their_own(imports):
    upwards = []
    for name, modules in imports.items():
        room = room_of(name)
        for module, line in modules.items():
            other = room_of(module)
            if room not in (None, other) and RANKS.get(other, len(LAYERS)) >= RANKS[room]:
                upwards.append(f"{MODULES[name].relative_to(ROOT)}:{line} imports {module}")
    assert upwards == []


def test_every_module_of_the_core_is_in_a_room():
    assert {name for name in MODULES if name.startswith("zoo.") and room_of(name) is None} == set()


def test_imports_are_found_wherever_they_are(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import zoo\n"
        "from zoo import Registry\n"
        "if TYPE_CHECKING:\n"
        "    from zoo.runs import open as opening\n"
        "def load():\n"
        "    from zoo.runs.run import RUNS\n"
    )
    assert [*find_imports(file)] == [
        ("zoo", 1),
        ("zoo.plugins.registry", 2),
        ("zoo.runs.open", 4),
        ("zoo.runs.run", 6),
    ]
