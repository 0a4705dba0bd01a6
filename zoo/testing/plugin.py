"""The contract of a plugin: it loads without heavy imports, and everything it offers meets its own contract."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.discovery import Plugin, load_plugins
from zoo.plugins.entry_points import Candidate, import_target
from zoo.plugins.kinds import BACKBONE, CHECK, DATASET, FORMAT, HEAD, KINDS, Kind
from zoo.plugins.specs import BackboneFamily, BackboneSpec, Spec
from zoo.testing.backbone import check_backbone
from zoo.testing.check import check_findings
from zoo.testing.contract import Contract, check_spec
from zoo.testing.dataset import check_dataset
from zoo.testing.format import check_format
from zoo.testing.head import check_head

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

# The checks of specs by kind; `check_spec` checks those of all other kinds.
_CHECKS: dict[str, Callable[[Any], object]] = {
    BACKBONE.name: check_backbone,
    HEAD.name: check_head,
    FORMAT.name: check_format,
    CHECK.name: check_findings,
}
HEAVY = ("torch", "torchvision", "timm", "gradio", "onnxruntime")
_PRINT_HEAVY_IMPORTS = f"""
import sys
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, import_target
load_plugins([Candidate(entry="plugin", distribution="plugin", version="", load=lambda: import_target(sys.argv[1]))])
print(*sorted(set(sys.modules) & set({HEAVY})))
"""


@restore_random_states()
def check_plugin(
    plugin: object,
    *,
    skip: Collection[str] = (),
    family_names: Collection[str] = (),
    cache: Path | None = None,
) -> None:
    """Checks a plugin and everything it offers.

    Args:
        plugin: The plugin as named by its entry point (``"zoo_tinynet"`` or ``"zoo_tinynet:plugin"``), or the module or
            object itself. Only with a name can this check that the plugin loads without torch.
        skip: Names of offers to skip: a network too large to build in a test, a dataset that must be downloaded.
        family_names: Names of backbones in the families of the plugin to check in full. Families themselves are always
            checked: whether they list and resolve their names.
        cache: The folder for downloads of datasets; by default a temporary folder.

    Raises:
        AssertionError: The plugin violates its contract; the message says what the contract requires.
    """
    loaded = _load(plugin)
    if isinstance(plugin, str):
        _check_imports(Contract(f"plugin {plugin}"), plugin)
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            for spec in loaded.specs(kind):
                if spec.name not in skip:
                    _check_offer(kind, spec, cache or Path(folder))
    families = loaded.families(BACKBONE)
    for family in families:
        if family.name not in skip:
            _check_family(family)
    for name in family_names:
        check_backbone(_resolve(families, name))
    _check_commands(loaded)


def _check_offer(kind: Kind[Any], spec: Spec, cache: Path) -> None:
    checks = _CHECKS | {DATASET.name: functools.partial(check_dataset, cache=cache)}
    checks.get(kind.name, functools.partial(check_spec, kind=kind.name))(spec)


def _load(plugin: object) -> Plugin:
    named = isinstance(plugin, str)
    name = str(plugin) if named else getattr(plugin, "__name__", type(plugin).__name__)
    load = functools.partial(import_target, name) if named else lambda: plugin
    (loaded,) = load_plugins([Candidate(entry=name, distribution=name, version="", load=load)])
    Contract(f"plugin {name}").require(
        loaded.error is None, f"it must load, but {loaded.error}\n{loaded.details}".strip()
    )
    return loaded


def _check_imports(contract: Contract, name: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_HEAVY_IMPORTS, name], env=environment, capture_output=True, text=True, check=False
    )
    contract.require(done.returncode == 0, f"it must load in a new interpreter, but\n{done.stderr}")
    imported = done.stdout.strip()
    contract.require(
        not imported,
        f"it imports {imported} when it is loaded, which slows down every command, even 'zoo --help'; move the import "
        "into the functions that build (the annotation zoo.Backbone imports torch, too, unless the file starts with "
        "'from __future__ import annotations')",
    )


def _check_family(family: BackboneFamily) -> None:
    contract = Contract(f"family {family.name}")
    with contract.calling("names()"):
        names = resolve_callable(family.names)()
    contract.require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        "names() must return a list of names, at least one",
    )
    contract.require(len(set(names)) == len(names), "names() must not return a name twice")
    _resolve([family], names[0])
    with contract.calling("local_names()"):
        local = resolve_callable(family.local_names)()
    contract.require(
        isinstance(local, list) and set(local) <= set(names), "local_names() must return a list of some of its names"
    )
    with contract.calling("resolve() with an unknown name"):
        unknown = resolve_callable(family.resolve)("no-such-backbone-anywhere")
    contract.require(unknown is None, "resolve() must return None for an unknown name")


def _resolve(families: Sequence[BackboneFamily], name: str) -> BackboneSpec:
    for family in families:
        contract = Contract(f"family {family.name}")
        with contract.calling(f"resolve({name!r})"):
            spec = resolve_callable(family.resolve)(name)
        if spec is not None:
            contract.require(
                isinstance(spec, BackboneSpec), f"resolve() must return a BackboneSpec, not {type(spec).__name__}"
            )
            return spec
    raise AssertionError(f"family {' or '.join(family.name for family in families)}: it must resolve the name {name!r}")


class _Commands(click.Group):
    """Replaces the command line of the zoo; imports lazy commands at once."""

    def add_lazy(self, name: str, target: str, help: str, *, section: str = "") -> None:
        command = import_target(target)
        self.add_command(command, name)


def _check_commands(plugin: Plugin) -> None:
    if plugin.add_commands is None:
        return
    contract = Contract(f"plugin {plugin.key}")
    cli = _Commands("zoo")
    with contract.calling("zoo_commands(cli)"):
        plugin.add_commands(cli)
    contract.require(bool(cli.commands), "zoo_commands(cli) must add a command")
    contract.require(
        all(isinstance(command, click.Command) for command in cli.commands.values()),
        "zoo_commands(cli) must add click commands",
    )
