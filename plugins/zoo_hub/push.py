"""Publishes a folder as one commit of a repository on the Hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, RunError
from zoo.plugins.servers import unreachable_reason
from zoo.runs.manifest import MANIFEST, Entry, read_manifest
from zoo_hub.fetch import ONNX, RUN, RUN_FILES
from zoo_hub.repository import (
    LOG_IN,
    MAIN,
    Repository,
    endpoint,
    explained_errors,
    host,
    parse_repository,
    progress_bars,
)
from zoo_hub.staging import README

if TYPE_CHECKING:
    from pathlib import Path

# What an earlier push may have written, and this one may not write.
_OURS = (ONNX, "model.safetensors", "config.json", *(f"{RUN}/{name}" for name in RUN_FILES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a folder is published.

    Attributes:
        repository: The repository; its revision is the branch.
        private: Whether a new repository is private; that of an existing one does not change.
        create_pr: Whether to open a pull request instead of changing the branch.
        overwrite_readme: Whether to replace a README.md that was edited on the Hub.
    """

    repository: Repository
    private: bool = False
    create_pr: bool = False
    overwrite_readme: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The result of a push.

    Attributes:
        url: The address of the repository, or of the pull request.
        commit: The commit; the last one if nothing has changed.
        kept_readme: Whether a README.md that was edited on the Hub was kept.
    """

    url: str
    commit: str
    kept_readme: bool


def find_target(name: str) -> Repository:
    """Returns the repository that a user means, before any slow work; a name without owner is one of the user.

    Raises:
        ConfigError: The name is invalid.
        RunError: The Hub cannot be reached, or there is no valid token.
    """
    from huggingface_hub import HfApi, constants, get_token

    address = endpoint()
    if "/" in name:
        parse_repository(name)
    if constants.HF_HUB_OFFLINE:
        raise RunError("Nothing can be pushed: HF_HUB_OFFLINE is set.", hint="Unset it, or write a folder with --to.")
    if reason := unreachable_reason(address):
        raise RunError(f"{host()} cannot be reached: {reason}.", hint="Write a folder with --to, and push it later.")
    if get_token() is None:
        raise RunError(
            f"You are not logged in to {host()}.", hint=f"{LOG_IN} with write access ({address}/settings/tokens)."
        )
    with explained_errors(Repository("", name), "pushed"):
        user = str(HfApi().whoami()["name"])
    return parse_repository(name if "/" in name else f"{user}/{name}")


def push(folder: Path, target: Target, *, message: str, quiet: bool = False) -> Pushed:
    """Creates a repository unless it exists, and publishes a folder as one commit: all of it or nothing.

    Files that an earlier push has written, and this folder does not have, are deleted in the same commit. All others
    stay, such as a README.md that was edited on the Hub.

    Args:
        folder: The folder, with a manifest.
        target: Where to publish it.
        message: The first line of the message of the commit.
        quiet: Whether to show no progress, not even on a terminal.

    Raises:
        RunError: You may not write to the repository, the connection was lost, or the Hub refuses the files. Nothing
            has changed then, except that an empty repository may have been created.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    repository, api = target.repository, HfApi(library_name="finetune-zoo")
    with explained_errors(repository, "pushed"), progress_bars(shown=not quiet):
        url = api.create_repo(repository.id, private=target.private or None, exist_ok=True)
        if target.private and not api.model_info(repository.id).private:
            raise RunError(
                f"hf:{repository.id} exists and is public.", hint="Make it private on the Hub, or leave out --private."
            )
        if repository.revision != MAIN:
            api.create_branch(repository.id, branch=repository.revision, exist_ok=True)
        existing = set(api.list_repo_files(repository.id, revision=repository.revision))
        kept = README in existing and not target.overwrite_readme and _was_edited(api, repository, existing)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        if kept:
            del files[README]
        operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
        operations += [CommitOperationDelete(name) for name in _OURS if name in existing and name not in files]
        commit = api.create_commit(
            repository.id,
            operations,
            commit_message=message,
            revision=repository.revision,
            create_pr=target.create_pr,
        )
    return Pushed(url=commit.pr_url or str(url), commit=commit.oid, kept_readme=kept)


def _was_edited(api: Any, repository: Repository, existing: set[str]) -> bool:
    """Returns whether README.md in a repository is not the one that an earlier push has written."""
    if MANIFEST not in existing:
        return True
    paths = {name: _read(api, repository, name) for name in (README, MANIFEST)}
    try:
        entry = read_manifest(paths[MANIFEST].parent).get(README)
    except RunError:  # of another program
        return True
    content = paths[README].read_bytes()
    return entry != Entry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def _read(api: Any, repository: Repository, name: str) -> Path:
    from pathlib import Path

    return Path(api.hf_hub_download(repository.id, name, revision=repository.revision))


def check_licence(text: str) -> str:
    """Returns a licence as the Hub writes it.

    Raises:
        ConfigError: It is not a single word of letters, digits, dots and hyphens.
    """
    licence = text.strip().lower()
    if not licence or not licence.replace("-", "").replace(".", "").isalnum():
        raise ConfigError(
            f"{text!r} is not an identifier of a licence.",
            hint="Write it as on the Hub: apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0, other.",
        )
    return licence
