"""The contract of an export target."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import ZooError
from zoo.models.random_state import restore_random_states
from zoo.plugins.calls import resolve_callable
from zoo.plugins.kinds import EXPORT_TARGET
from zoo.plugins.specs import ExportRequest
from zoo.runs.manifest import MANIFEST
from zoo.testing.contract import Contract, check_options, describe_random_states
from zoo.testing.sample_run import BACKBONE, make_registry, write_photos, write_run, write_unreadable_photos
from zoo.utils.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ExportTargetSpec
    from zoo.runs.run import RunFolder

_PHOTOS = 4  # compared in each export
_CPU = torch.device("cpu")


@restore_random_states()
def check_export_target(
    spec: ExportTargetSpec, *, options: Mapping[str, Any] | None = None, backbone: str = BACKBONE
) -> None:
    """Exports small untrained runs to a target: some that it must export, and some that it must refuse.

    Args:
        spec: The target, as returned by the hook ``zoo_export_targets``.
        options: Values of its options; those that are missing keep their defaults.
        backbone: The name of an installed backbone, if the target exports only the runs of some backbones.

    Raises:
        AssertionError: The target violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"export target {spec.name}")
    fault = EXPORT_TARGET.find_fault(spec)
    contract.require(not fault, f"it is a target {fault}")
    values = check_options(contract, spec.options, options or {})
    with tempfile.TemporaryDirectory() as folder:
        kit = _Kit(contract, spec, values, backbone, make_registry(), Path(folder).resolve())
        write_photos(kit.photos)
        write_unreadable_photos(kit.unreadable)
        name = _check_default(kit)
        _check_unverified(kit, name)
        _check_comparison(kit, name)
        _check_other_answers(kit, name)
        _check_sigmoids(kit, name)


@dataclass(frozen=True, slots=True)
class _Kit:
    """What all checks share: the target, and a temporary folder."""

    contract: Contract
    spec: ExportTargetSpec
    options: Any
    backbone: str
    registry: Registry
    folder: Path

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def unreadable(self) -> Path:
        return self.folder / "unreadable"

    def write_run(self, name: str, **values: Any) -> RunFolder:
        return write_run(self.folder / name, self.registry, data=self.photos, backbone=self.backbone, **values)

    def make_empty(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    def export(self, run: RunFolder, what: str, *, to: Path | None = None, **values: Any) -> Path | ZooError:
        """Returns the result of an export, or the error with which it refused the run."""
        request = ExportRequest(
            run=run.path, to=to, options=self.options, photos=_PHOTOS, registry=self.registry, **values
        )
        result: object = None
        printed, before = io.StringIO(), describe_random_states(_CPU)
        with contextlib.redirect_stdout(printed), self.contract.calling(f"export() {what}"):
            try:
                result = resolve_callable(self.spec.export)(request)
            except ZooError as error:
                result = error
            except AssertionError as error:  # of numpy.testing, for example
                raise AssertionError(
                    f"{self.contract.name}: export() {what} raised AssertionError: {one_line(str(error)):.80}; raise "
                    "a zoo.errors.ExportError instead, which says what to do"
                ) from error
        require = self.contract.require
        require(not printed.getvalue(), f"export() must print nothing; it printed {printed.getvalue()!r:.80}")
        require(
            describe_random_states(_CPU) == before,
            "export() must neither seed the global random generators nor draw from them",
        )
        if isinstance(result, ZooError):
            return result
        require(
            isinstance(result, Path) and result.exists(),
            f"export() {what} must return the path of what it wrote, not {result!r:.80}",
        )
        assert isinstance(result, Path)
        return result.resolve()


def _check_default(kit: _Kit) -> str:
    """Exports a run to the path that the target chooses; returns the name of what it adds to the run folder."""
    run = kit.write_run("run")
    before = _read_digests(run.path)
    path = kit.export(run, "of a run")
    kit.contract.require(
        isinstance(path, Path),
        f"export() must export a run of {kit.backbone} with a linear layer as its head, but refused it: {path}  If it "
        "is for other backbones, name one: check_plugin(..., backbones={NAME: BACKBONE})",
    )
    assert isinstance(path, Path)
    kit.contract.require(
        path.is_relative_to(run.path), f"export() must write into the run folder if request.to is None, not to {path}"
    )
    name = path.relative_to(run.path).parts[0]
    others = _list_changes(before, _read_digests(run.path), except_for=name)
    kit.contract.require(
        not others, f"export() must write only {name}, which it returns; in the run folder, it also changed {others}"
    )
    for file in [run.path / name] if (run.path / name).is_file() else (run.path / name).rglob("*"):
        kit.contract.require(
            not file.is_file() or str(kit.folder).encode() not in file.read_bytes(),
            f"{file.name} must not contain the path of the run folder or of its data, which is private",
        )
    return name


def _check_unverified(kit: _Kit, name: str) -> None:
    """Exports a run to a path of its own, without a comparison: the photos do not matter then."""
    run, folder = kit.write_run("unverified"), kit.make_empty("elsewhere")
    before = _read_digests(run.path)
    path = kit.export(run, "with verify=False", to=folder / name, verify=False, data=str(kit.unreadable))
    kit.contract.require(
        isinstance(path, Path), f"export() must compare nothing if request.verify is False, but raised: {path}"
    )
    assert isinstance(path, Path)
    written = sorted(each.name for each in folder.iterdir())
    kit.contract.require(
        path.is_relative_to(folder / name) and written == [name],
        f"export() must write what request.to names, and nothing beside it; it wrote {', '.join(written) or 'nothing'} "
        f"and returned {path}",
    )
    changed = _list_changes(before, _read_digests(run.path))
    kit.contract.require(
        not changed, f"export() must not change the run folder if request.to is set; it changed {changed}"
    )


def _check_comparison(kit: _Kit, name: str) -> None:
    what = "with photos of which none is readable"
    run, folder = kit.write_run("incomparable"), kit.make_empty("incomparable-exports")
    path = kit.export(run, what, to=folder / name, data=str(kit.unreadable))
    kit.contract.require(
        isinstance(path, ZooError),
        f"export() {what} must raise a ZooError, because it cannot compare anything: compare what it writes with the "
        "run, on the photos of request.data (zoo_export.load_reference(request).compare() does)",
    )
    _require_nothing_left(kit, folder, what)


def _check_other_answers(kit: _Kit, name: str) -> None:
    what = "of a network whose copies answer otherwise than it does"
    run, folder = kit.write_run("unfaithful", head="unfaithful"), kit.make_empty("unfaithful-exports")
    path = kit.export(run, what, to=folder / name)
    kit.contract.require(
        isinstance(path, ZooError),
        f"export() {what} must raise a zoo.errors.ExportError, because the file does not predict what the run predicts",
    )
    _require_nothing_left(kit, folder, what)


def _check_sigmoids(kit: _Kit, name: str) -> None:
    what = "of a run with sigmoids"
    run, folder = kit.write_run("sigmoids", activation="sigmoid"), kit.make_empty("sigmoid-exports")
    if isinstance(kit.export(run, what, to=folder / name), ZooError):
        _require_nothing_left(kit, folder, what)


def _require_nothing_left(kit: _Kit, folder: Path, what: str) -> None:
    left = ", ".join(sorted(each.name for each in folder.iterdir()))
    kit.contract.require(not left, f"export() {what} must leave nothing behind if it raises; it left {left}")


def _read_digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each file but the manifest, which the zoo keeps."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name != MANIFEST}


def _list_changes(before: Mapping[str, str], after: Mapping[str, str], *, except_for: str = "") -> str:
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ", ".join(name for name in names if not except_for or name.partition("/")[0] != except_for)
