"""The files of a repository at one commit: downloaded on demand, verified, and cached for use without a network."""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import HubWarning, IntegrityError, RunError
from zoo.plugins.servers import unreachable_reason
from zoo.runs.manifest import MANIFEST, Entry, read_manifest
from zoo_hub.repository import Repository, endpoint, explained_errors, host, progress_bars

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Connection:
    """The connection to the Hub, which is tried once, and only if something is not in the cache."""

    @functools.cached_property
    def obstacle(self) -> str:
        """Why the Hub cannot be reached, found within seconds; empty if it can.

        huggingface_hub itself retries for half a minute.
        """
        if self.is_off:
            return "HF_HUB_OFFLINE is set"
        reason = unreachable_reason(endpoint())
        return f"{host()} cannot be reached ({reason})" if reason else ""

    @property
    def is_off(self) -> bool:
        """Whether the user allows no connection."""
        from huggingface_hub import constants

        return bool(constants.HF_HUB_OFFLINE)

    def download(self, repository: Repository, file: str) -> Path | None:
        """Returns the path of a file in the cache, after downloading it if necessary; None if there is no such file.

        Raises:
            RunError: The file is neither in the cache nor can be downloaded.
        """
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError

        if _COMMIT.fullmatch(repository.revision) or self.obstacle:
            cached = huggingface_hub.try_to_load_from_cache(repository.id, file, revision=repository.revision)
            if cached is not None:
                return Path(cached) if isinstance(cached, str) else None  # else known not to exist
        if self.obstacle:
            raise RunError(
                f"{repository} is not in the cache, and cannot be downloaded: {self.obstacle}.",
                hint="Once downloaded, it can be used without a network.",
                offline=True,
            )
        try:
            with explained_errors(repository, "downloaded"), progress_bars():
                return Path(huggingface_hub.hf_hub_download(repository.id, file, revision=repository.revision))
        except EntryNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        repository: The repository, whose revision is the commit.
        manifest: The size and the SHA-256 of its files by their names.
        connection: The connection that found the commit.
    """

    repository: Repository
    manifest: Mapping[str, Entry]
    connection: Connection

    def download(self, file: str) -> Path:
        """Returns the path of a file of the manifest in the cache, after verifying it.

        Raises:
            IntegrityError: The file was changed or cut, or is missing.
            RunError: It is neither in the cache nor can be downloaded.
        """
        path = self.connection.download(self.repository, file)
        if path is None:
            raise IntegrityError(
                f"{self.repository} has no {file}, which its {MANIFEST} lists.", hint="Its owner must push it again."
            )
        _verify(path, self.manifest[file], f"{file} of {self.repository}")
        return path


def open_snapshot(repository: Repository, connection: Connection) -> Snapshot | None:
    """Returns the files of a repository as of now, or as of its last download if the Hub cannot be reached.

    Returns:
        None if the repository has no manifest, because 'zoo push' did not write it.

    Raises:
        RunError: There is no such repository or revision, or it is neither in the cache nor can be downloaded.
    """
    path = connection.download(repository, MANIFEST)
    if not _COMMIT.fullmatch(repository.revision) and connection.obstacle and not connection.is_off:
        text = f"{connection.obstacle}: the copy of {repository} in the cache is used."
        warnings.warn(text, HubWarning, stacklevel=2)
    return None if path is None else Snapshot(_pin(repository, path), read_manifest(path.parent), connection)


def download_unlisted(repository: Repository, file: str, connection: Connection) -> tuple[Path, Repository]:
    """Returns a file of a repository without a manifest, and the repository at the commit of the file.

    Raises:
        RunError: The repository has no such file, or it is neither in the cache nor can be downloaded.
    """
    path = connection.download(repository, file)
    if path is None:
        raise RunError(
            f"{repository} has neither a run of the zoo nor {file}.",
            hint="'zoo push' publishes runs. Of other repositories only weights in safetensors are read: other formats "
            "can contain code.",
        )
    return path, _pin(repository, path)


def matches(path: Path, entry: Entry) -> bool:
    """Returns whether a file exists and is what a manifest says."""
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256


def _verify(path: Path, entry: Entry, what: str) -> None:
    if matches(path, entry):
        return
    size = path.stat().st_size
    found = f"it has {size:,} bytes, not {entry.size:,}" if size != entry.size else "its SHA-256 is another one"
    raise IntegrityError(
        f"{what} is not what its {MANIFEST} lists: {found}.",
        hint=f"Delete {path.resolve()} to download it again. If that changes nothing, its owner must push it again.",
    )


def _pin(repository: Repository, path: Path) -> Repository:
    """Returns the repository at the commit that a file in the cache is from."""
    commit = next((part for part in reversed(path.parts) if _COMMIT.fullmatch(part)), "")
    if not commit:
        raise RunError(f"{host()} names no commit of {repository}.", hint="Is it a server of the Hub's kind?")
    return Repository(repository.user, repository.name, commit)
