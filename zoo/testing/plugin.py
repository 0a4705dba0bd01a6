"""The contract of a plugin: that it loads lightly, and that all it offers keeps its own contract."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.plugins.calls import resolve_callable
from zoo.plugins.discovery import Plugin, load_plugins
from zoo.plugins.entry_points import Candidate, import_target
from zoo.plugins.kinds import BACKBONE, CHECK, DATASET, FORMAT, HEAD, KINDS
from zoo.plugins.specs import BackboneFamily, BackboneSpec
from zoo.testing.backbone import check_backbone
from zoo.testing.dataset import check_dataset
from zoo.testing.head import check_head
from zoo.testing.setup import check_findings, check_format
from zoo.testing.subject import Subject, check_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

# How the specs of each kind are checked; those of other kinds by `check_spec`.
_CHECKS: dict[str, Callable[[Any], object]] = {
    BACKBONE.name: check_backbone,
    HEAD.name: check_head,
    FORMAT.name: check_format,
    CHECK.name: check_findings,
}
HEAVY = ("torch", "torchvision", "timm", "gradio", "onnxruntime")
_LIGHT = f"""
import sys
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, import_target
load_plugins([Candidate(entry="plugin", distribution="plugin", version="", load=lambda: import_target(sys.argv[1]))])
print(*sorted(set(sys.modules) & set({HEAVY})))
"""


def check_plugin(
    plugin: object,
    *,
    skip: Collection[str] = (),
    family_names: Collection[str] = (),
    cache: Path | None = None,
) -> None:
    """Checks a plugin and everything that it offers.

    Args:
        plugin: The plugin as its entry point names it (``"zoo_tinynet"`` or ``"zoo_tinynet:plugin"``), or the module or
            object itself. Only of a name it can be seen whether the plugin loads without torch.
        skip: Names of offers to leave out: a network too large to build in a test, a dataset to be downloaded.
        family_names: Names of backbones in the plugin's families to check in full. Without any, it is only
            checked that the families tell and resolve their names.
        cache: Where datasets keep downloads; by default a temporary folder.

    Raises:
        AssertionError: The contract is broken; the sentence says what it wants.
    """
    loaded = _load(plugin)
    if isinstance(plugin, str):
        _check_light(Subject(f"plugin {plugin}"), plugin)
    with tempfile.TemporaryDirectory() as folder:
        checks = _CHECKS | {DATASET.name: functools.partial(check_dataset, cache=cache or Path(folder))}
        for kind in KINDS:
            for spec in loaded.specs(kind):
                if spec.name not in skip:
                    checks.get(kind.name, check_spec)(spec)
    families = loaded.families(BACKBONE)
    for family in families:
        if family.name not in skip:
            _check_family(family)
    for name in family_names:
        check_backbone(_resolve(families, name))
    _check_commands(loaded)


def _load(plugin: object) -> Plugin:
    named = isinstance(plugin, str)
    name = str(plugin) if named else getattr(plugin, "__name__", type(plugin).__name__)
    load = functools.partial(import_target, name) if named else lambda: plugin
    (loaded,) = load_plugins([Candidate(entry=name, distribution=name, version="", load=load)])
    Subject(f"plugin {name}").want(loaded.error is None, f"it must load, but {loaded.error}\n{loaded.details}".strip())
    return loaded


def _check_light(subject: Subject, name: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, name], env=environment, capture_output=True, text=True, check=False
    )
    subject.want(done.returncode == 0, f"it must load in a fresh interpreter, but\n{done.stderr}")
    imported = done.stdout.strip()
    subject.want(
        not imported,
        f"it imports {imported} when the zoo looks around, which makes every command slow, 'zoo --help' too; "
        "such imports belong inside the functions that build (the annotation zoo.Backbone imports torch too, unless "
        "the file begins with 'from __future__ import annotations')",
    )


def _check_family(family: BackboneFamily) -> None:
    subject = Subject(f"family {family.name}")
    with subject.calling("names()"):
        names = resolve_callable(family.names)()
    subject.want(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        "names() must return a list of names, at least one",
    )
    subject.want(len(set(names)) == len(names), "names() must not tell a name twice")
    _resolve([family], names[0])
    with subject.calling("resolve() with a name that no family has"):
        unknown = resolve_callable(family.resolve)("no-such-backbone-anywhere")
    subject.want(unknown is None, "resolve() must return None for a name that it does not have")


def _resolve(families: Sequence[BackboneFamily], name: str) -> BackboneSpec:
    for family in families:
        subject = Subject(f"family {family.name}")
        with subject.calling(f"resolve({name!r})"):
            spec = resolve_callable(family.resolve)(name)
        if spec is not None:
            subject.want(
                isinstance(spec, BackboneSpec), f"resolve() must return a BackboneSpec, not {type(spec).__name__}"
            )
            return spec
    raise AssertionError(f"family {' or '.join(family.name for family in families)}: it must resolve the name {name!r}")


class _Commands(click.Group):
    """Stands in for the zoo's command line; what it is given lazily is imported at once."""

    def add_lazy(self, name: str, target: str, help: str, *, section: str = "") -> None:
        command = import_target(target)
        self.add_command(command, name)


def _check_commands(plugin: Plugin) -> None:
    if plugin.add_commands is None:
        return
    subject = Subject(f"plugin {plugin.key}")
    cli = _Commands("zoo")
    with subject.calling("zoo_commands(cli)"):
        plugin.add_commands(cli)
    subject.want(bool(cli.commands), "zoo_commands(cli) must add a command")
    subject.want(
        all(isinstance(command, click.Command) for command in cli.commands.values()),
        "zoo_commands(cli) must add click commands",
    )
