"""The contract of a plugin: it loads without heavy imports, and everything it offers meets its own contract."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.errors import PluginWarning
from zoo.models.random_state import restore_random_states
from zoo.plugins import hookspecs
from zoo.plugins.calls import resolve_callable
from zoo.plugins.discovery import Plugin, load_plugins
from zoo.plugins.entry_points import Candidate, find_plugins, import_target
from zoo.plugins.hookspecs import RESERVED_COMMANDS
from zoo.plugins.kinds import (
    AUGMENTATION,
    BACKBONE,
    CHECK,
    DATASET,
    EXPORT_TARGET,
    FORMAT,
    HEAD,
    HUB,
    KINDS,
    LOSS,
    METRIC,
    OPTIMIZER,
    RECIPE,
    SCHEDULE,
    TRACKER,
    Kind,
    callables,
)
from zoo.plugins.specs import BackboneFamily, Family, Spec
from zoo.testing.augmentation import check_augmentation
from zoo.testing.backbone import check_backbone
from zoo.testing.check import check_findings
from zoo.testing.contract import Contract, check_spec
from zoo.testing.dataset import check_dataset
from zoo.testing.export_target import check_export_target
from zoo.testing.format import check_format
from zoo.testing.head import check_head
from zoo.testing.hub import check_hub
from zoo.testing.loss import check_loss
from zoo.testing.metric import check_metric
from zoo.testing.optimizer import check_optimizer
from zoo.testing.recipe import check_recipe
from zoo.testing.sample_run import BACKBONE as SAMPLE
from zoo.testing.schedule import check_schedule
from zoo.testing.tracker import check_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

S = TypeVar("S", bound=Spec)
LOADED = "loaded, with"  # what the new interpreter prints first
LOAD_SECONDS = 180.0  # for a new interpreter, on a busy machine
HEAVY = ("torch", "torchvision", "timm", "gradio", "onnxruntime", "tensorboard", "mlflow", "wandb", "trackio")
_PRINT_HEAVY_IMPORTS = f"""
import sys
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, import_target
load_plugins([Candidate(entry="plugin", distribution="plugin", version="", load=lambda: import_target(sys.argv[1]))])
print("{LOADED}", *sorted(set(sys.modules) & set({HEAVY})))
"""


@restore_random_states()
def check_plugin(
    plugin: object,
    *,
    skip: Collection[str] = (),
    family_names: Collection[str] = (),
    cache: Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    backbones: Mapping[str, str] | None = None,
) -> None:
    """Checks a plugin and everything it offers.

    Args:
        plugin: The plugin as named by its entry point (``"zoo_tinynet"`` or ``"zoo_tinynet:plugin"``), or the module or
            object itself. Only with a name can this check that the plugin loads without torch.
        skip: Names of offers to skip: a network too large to build in a test, a dataset that must be downloaded.
        family_names: Names of backbones in the families of the plugin to check in full. Families themselves are always
            checked: whether they list and resolve their names.
        cache: The folder for downloads of datasets; by default a temporary folder.
        options: Values of options by the name of the offer, such as those without a default:
            ``{"flowers": {"root": "tests/flowers"}}``.
        backbones: Names of installed backbones by the name of the export target that exports only the runs of some:
            ``{"timm": "timm/resnet10t"}``.

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
                    _check_targets(Contract(f"{kind.name} {spec.name}"), spec)
                    given = (options or {}).get(spec.name, {})
                    backbone = (backbones or {}).get(spec.name, SAMPLE)
                    _check_offer(kind, spec, loaded, cache or Path(folder), given, backbone)
    families = loaded.families(BACKBONE)
    for kind in KINDS:
        for family in loaded.families(kind):
            if family.name not in skip:
                _check_targets(Contract(f"family {family.name}"), family)
                _check_family(family, kind)
    for name in family_names:
        spec = _resolve(families, name, BACKBONE)
        _check_targets(Contract(f"backbone {name}"), spec)
        check_backbone(spec, options=(options or {}).get(name))
    _check_commands(loaded, import_target(plugin) if isinstance(plugin, str) else plugin)


def _check_offer(
    kind: Kind[Any], spec: Spec, plugin: Plugin, cache: Path, options: Mapping[str, Any], backbone: str
) -> None:
    checks: dict[str, Callable[[Any], object]] = {
        BACKBONE.name: functools.partial(check_backbone, options=options),
        HEAD.name: functools.partial(check_head, options=options),
        AUGMENTATION.name: functools.partial(check_augmentation, options=options),
        EXPORT_TARGET.name: functools.partial(check_export_target, options=options, backbone=backbone),
        DATASET.name: functools.partial(check_dataset, cache=cache, options=options),
        LOSS.name: functools.partial(check_loss, options=options),
        METRIC.name: functools.partial(check_metric, options=options),
        OPTIMIZER.name: functools.partial(check_optimizer, options=options),
        SCHEDULE.name: functools.partial(check_schedule, options=options),
        FORMAT.name: check_format,
        HUB.name: check_hub,
        CHECK.name: check_findings,
        RECIPE.name: functools.partial(check_recipe, plugin=plugin),
        TRACKER.name: functools.partial(check_tracker, options=options),
    }
    checks.get(kind.name, functools.partial(check_spec, kind=kind.name))(spec)


def _check_targets(contract: Contract, spec: Spec | Family) -> None:
    """Imports the callables that are written as ``"module:attribute"``, those included that no other check calls."""
    for name, target in callables(spec).items():
        if isinstance(target, str):
            with contract.calling(f"importing '{target}', its {name},"):
                function = import_target(target)
            contract.require(callable(function), f"'{target}', its {name}, must be a function")


def _load(plugin: object) -> Plugin:
    named = isinstance(plugin, str)
    name = str(plugin) if named else getattr(plugin, "__name__", type(plugin).__name__)
    load = functools.partial(import_target, name) if named else lambda: plugin
    contract = Contract(f"plugin {name}")
    with _plugin_warnings_as_errors():
        (loaded,) = load_plugins([Candidate(entry=name, distribution=name, version="", load=load)])
    contract.require(loaded.error is None, f"it must load, but {loaded.error}\n{loaded.details}".strip())
    return loaded


@contextlib.contextmanager
def _plugin_warnings_as_errors() -> Iterator[None]:
    """Makes an error of what a plugin does to the process while it is loaded; filters that it adds are kept."""
    warnings.simplefilter("error", PluginWarning)
    filters: Any = warnings.filters
    added = filters[0]
    try:
        yield
    finally:
        filters.remove(added)


def _check_imports(contract: Contract, name: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_HEAVY_IMPORTS, name],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(
            f"{contract.name}: a new interpreter that loads it must end, but did not within {LOAD_SECONDS:g} s; a "
            "thread or a process that it starts may keep the interpreter alive"
        ) from None
    _, loaded, imported = done.stdout.strip().partition(LOADED)
    contract.require(
        done.returncode == 0 and bool(loaded),
        f"it must load in a new interpreter, but that ended with {done.returncode}\n{done.stderr}",
    )
    imported = imported.strip()
    contract.require(
        not imported,
        f"it imports {imported} when it is loaded, which slows down every command, even 'zoo --help'; move the import "
        "into the functions that build (the annotation zoo.Backbone imports torch, too, unless the file starts with "
        "'from __future__ import annotations')",
    )


def _check_family(family: Family, kind: Kind[Any]) -> None:
    contract = Contract(f"family {family.name}")
    with contract.calling("names()"):
        names = resolve_callable(family.names)()
    contract.require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        "names() must return a list of names, at least one",
    )
    contract.require(len(set(names)) == len(names), "names() must not return a name twice")
    _resolve([family], names[0], kind)
    if isinstance(family, BackboneFamily):
        with contract.calling("local_names()"):
            local = resolve_callable(family.local_names)()
        contract.require(
            isinstance(local, list) and set(local) <= set(names),
            "local_names() must return a list of some of its names",
        )
    with contract.calling("resolve() with an unknown name"):
        unknown = resolve_callable(family.resolve)("no-such-name-anywhere")
    contract.require(unknown is None, "resolve() must return None for an unknown name")


def _resolve(families: Sequence[Family], name: str, kind: Kind[S]) -> S:
    for family in families:
        contract = Contract(f"family {family.name}")
        with contract.calling(f"resolve({name!r})"):
            spec = resolve_callable(family.resolve)(name)
        if spec is not None:
            contract.require(
                isinstance(spec, kind.spec),
                f"resolve() must return a {kind.spec.__name__}, not {type(spec).__name__}",
            )
            found: S = spec
            return found
    raise AssertionError(f"family {' or '.join(family.name for family in families)}: it must resolve the name {name!r}")


class _Commands(click.Group):
    """Replaces the command line of the zoo; imports no lazy command.

    Attributes:
        targets: The lazy commands, by name.
    """

    def __init__(self) -> None:
        super().__init__("zoo")
        self.targets: dict[str, str] = {}

    def add_lazy(self, name: str, target: str, help: str, *, section: str = "") -> None:
        self.targets[name] = target

    @property
    def names(self) -> list[str]:
        """The names of all commands."""
        return [*self.commands, *self.targets]


def _check_commands(plugin: Plugin, module: object) -> None:
    if plugin.add_commands is None:
        return
    contract = Contract(f"plugin {plugin.key}")
    cli = _Commands()
    with contract.calling("zoo_commands(cli)"):
        plugin.add_commands(cli)
    contract.require(bool(cli.names), "zoo_commands(cli) must add a command")
    owners = _find_owners(module)
    for name in cli.names:
        contract.require(name not in owners, f"it cannot add the command '{name}', which belongs to {owners.get(name)}")
    commands: dict[str, object] = dict(cli.commands)
    for name, target in cli.targets.items():
        with contract.calling(f"importing '{target}', its command '{name}',"):
            commands[name] = import_target(target)
    contract.require(
        all(isinstance(command, click.Command) for command in commands.values()),
        "zoo_commands(cli) must add click commands",
    )


def _find_owners(module: object) -> dict[str, str]:
    """Returns the commands of the zoo and of the other installed plugins, each with whom it belongs to."""
    owners = dict.fromkeys(RESERVED_COMMANDS, "the zoo")
    for candidate in find_plugins():
        cli = _Commands()
        with contextlib.suppress(Exception, SystemExit):  # not the fault of the plugin that is tested
            if (other := candidate.load()) is not module:
                hookspecs.register(other).hook.zoo_commands(cli=cli)
                owners = dict.fromkeys(cli.names, candidate.key) | owners
    return owners
