"""Downloads a file: resumes after a lost connection, verifies checksums, and puts only complete files in place."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.client
import queue
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.events import Progress

ATTEMPTS = 5
# Seconds until the first answer: without a network, the error comes within five seconds.
CONNECT_TIMEOUT = 4.5
# Seconds without a byte after which a connection counts as lost.
READ_TIMEOUT = 20.0
_CHUNK = 1 << 18
_LOCK_INTERVAL = 1.0  # seconds between two reports of another process's progress
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)


class _ConnectionLostError(Exception):
    """The connection was lost. The partial file stays, and the next attempt resumes it."""


class _UnreachableError(_ConnectionLostError):
    """There was no connection."""


class _Complete(Exception):  # noqa: N818 - not an error
    """The server reports that the partial file is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Download:
    """What to download, to where, and how to verify it."""

    url: str
    target: Path
    digests: dict[str, str]
    size: int | None
    progress: Progress

    @property
    def partial(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def version(self) -> Path:
        """The file that holds the server's identifier of the version that `partial` belongs to."""
        return self.target.with_name(f"{self.target.name}.part.tag")

    @property
    def manual_hint(self) -> str:
        return f"Or download {self.url} by other means and save it as {self.target}"

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    sha1: str = "",
    sha256: str = "",
    size: int | None = None,
    progress: Progress = no_progress,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    attempts: int = ATTEMPTS,
) -> Path:
    """Downloads a file, unless it exists.

    After a lost connection the partial file stays beside the target as ``.part``. The next attempt, or the next call,
    resumes it if the server supports that and still has the same version (HTTP Range and If-Range). The file gets its
    name only after its checksums are verified.

    Args:
        url: http or https.
        target: The file to write; its folder is created.
        sha1: In hex; empty if unknown.
        sha256: In hex; empty if unknown.
        size: In bytes; None if unknown.
        progress: Receives the number of bytes downloaded and the total.
        connect_timeout: Seconds to wait for the first answer.
        read_timeout: Seconds without a byte after which a connection counts as lost.
        attempts: Maximum number of attempts.

    Returns:
        `target`.

    Raises:
        DataError: There is no connection, the server refuses, a checksum differs, or the disk is full. The hint names
            the path for a copy downloaded by other means.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url} is not a download address.", hint="It begins with http:// or https://")
    digests = {kind: digest.lower() for kind, digest in (("sha1", sha1), ("sha256", sha256)) if digest}
    job = _Download(url=url, target=target, digests=digests, size=size, progress=progress)
    if target.exists():
        verify_checksums(target, digests)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(job):
            if not target.exists():  # another process may have downloaded it in the meantime
                _complete_partial(job, connect_timeout=connect_timeout, read_timeout=read_timeout, attempts=attempts)
                _put_in_place(job)
    except OSError as error:
        raise _disk_error(job, error) from None
    return target


def verify_checksums(file: Path, digests: dict[str, str]) -> None:
    """Compares a file with its checksums.

    Args:
        file: The file.
        digests: Checksums in hex by the name of their hash: ``{"sha1": "fba4..."}``.

    Raises:
        DataError: A checksum differs.
    """
    for kind, expected in digests.items():
        with file.open("rb") as stream:
            # Systems in FIPS mode otherwise refuse SHA-1, the only checksum that some publishers give.
            digest = functools.partial(hashlib.new, kind, usedforsecurity=False)
            actual = hashlib.file_digest(stream, digest).hexdigest()
        if actual != expected:
            raise DataError(
                f"{file} is not the expected file: its {kind.upper()} is {actual}, not {expected}.",
                hint="Delete it to download it again.",
            )


@contextmanager
def _locked(job: _Download) -> Iterator[None]:
    """Waits while another process downloads the file, and reports the progress of that process."""
    import filelock

    lock = filelock.FileLock(job.target.with_name(f"{job.partial.name}.lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_LOCK_INTERVAL, poll_interval=0.05)
        except filelock.Timeout:
            what = f"wait for another process to download {job.target.name}"
            job.progress(what, _length(job.partial), job.size)
        except FileNotFoundError:
            continue  # filelock before 3.20 fails if the file is deleted between two of its system calls
    try:
        yield
        # Waiting processes will find the target. After a failure the lock stays: else two of them could get one each.
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()


def _complete_partial(job: _Download, *, connect_timeout: float, read_timeout: float, attempts: int) -> None:
    reached = False
    for attempt in range(1, attempts + 1):
        try:
            with _request(job, connect_timeout=connect_timeout, read_timeout=read_timeout) as response:
                reached = True
                _receive(job, response)
            return
        except _Complete:
            return
        except _ConnectionLostError as error:
            if isinstance(error, _UnreachableError) and not reached:
                hint = f"Is this machine online? {job.manual_hint}"
                raise DataError(f"{job.url} is unreachable ({error}).", hint=hint, offline=True) from None
            if attempt == attempts:
                hint = f"Run again to resume after {_length(job.partial):,} bytes. {job.manual_hint}"
                problem = f"The connection to {job.url} was lost (attempts: {attempts}; {error})."
                raise DataError(problem, hint=hint, offline=True) from None
        time.sleep(min(0.1 * 2**attempt, 5))


def _request(job: _Download, *, connect_timeout: float, read_timeout: float) -> Any:
    have = _length(job.partial)
    version = job.version.read_text() if have and job.version.exists() else ""
    if have and not version:
        # Without its version, nobody knows whether the rest still belongs to the partial file.
        job.discard()
        have = 0
    headers = {"User-Agent": "finetune-zoo", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(job.url, headers=headers)
    try:
        return _open(request, connect_timeout=connect_timeout, read_timeout=read_timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range", "") == f"bytes */{have}":
                    raise _Complete from None
                job.discard()
                raise _ConnectionLostError("the partial file did not fit") from None
            if error.code >= 500 or error.code == 429:
                raise _ConnectionLostError(f"HTTP {error.code} {error.reason}") from None
            reason = f"HTTP {error.code} {error.reason}"
        raise DataError(f"{job.url} cannot be downloaded ({reason}).", hint=job.manual_hint, offline=True) from None
    except _NETWORK_ERRORS as error:
        reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        raise _UnreachableError(reason) from None


def _open(request: urllib.request.Request, *, connect_timeout: float, read_timeout: float) -> Any:
    """Opens an address within `connect_timeout` seconds, including name lookup, proxies and redirections.

    In a thread: the timeout of urllib covers neither the name lookup nor the sum over several addresses.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=read_timeout))
        except BaseException as error:  # raised again below
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="zoo-download").start()
    try:
        answer = answers.get(timeout=connect_timeout)
    except queue.Empty:
        raise TimeoutError(f"no answer within {connect_timeout:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _receive(job: _Download, response: Any) -> None:
    """Writes a response to `job.partial`: appends if the server resumes, otherwise starts again."""
    have = _length(job.partial)
    resumes = response.status == 206 and _range_start(response) == have
    if response.status == 206 and not resumes:
        job.discard()
        raise _ConnectionLostError("the server sent another range than requested")
    have = have if resumes else 0
    length = response.headers.get("Content-Length")
    total = have + int(length) if length is not None else job.size
    if job.size is not None and total != job.size:
        raise DataError(f"{job.url} has {total:,} bytes, not {job.size:,}: another file.", hint=job.manual_hint)
    _check_disk_space(job, (total or 0) - have)
    with job.partial.open("ab" if resumes else "wb") as file:
        _save_version(job, response)
        have = _copy(job, response, file, have, total)
    if total is not None and have < total:
        raise _ConnectionLostError(f"it ended after {have:,} of {total:,} bytes")


def _copy(job: _Download, response: Any, file: BinaryIO, have: int, total: int | None) -> int:
    what = f"download {job.target.name}"
    job.progress(what, have, total)
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except _NETWORK_ERRORS as error:
            raise _ConnectionLostError(str(error) or type(error).__name__) from None
        if not chunk:
            return have
        file.write(chunk)
        have += len(chunk)
        job.progress(what, have, total)


def _save_version(job: _Download, response: Any) -> None:
    version = response.headers.get("ETag", "")
    # A weak ETag ("W/...") promises equivalent content, not equal bytes.
    if not version or version.startswith("W/"):
        version = response.headers.get("Last-Modified", "")
    job.version.write_text(version)


def _range_start(response: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _put_in_place(job: _Download) -> None:
    try:
        verify_checksums(job.partial, job.digests)
    except DataError as error:
        job.discard()
        raise DataError(
            f"The download from {job.url} is damaged or another file: {error.message.partition(': ')[2]}",
            hint=f"Try again. {job.manual_hint}",
        ) from None
    job.partial.replace(job.target)
    job.version.unlink(missing_ok=True)


def _check_disk_space(job: _Download, needed: int) -> None:
    free = shutil.disk_usage(job.target.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 2**20:.0f} MiB needed, {free / 2**20:.0f} MiB free")


def _disk_error(job: _Download, error: OSError) -> DataError:
    if error.errno == errno.ENOSPC:
        return DataError(
            f"The disk is full: {job.target} cannot be downloaded ({error.strerror}).",
            hint="Free some space, or set ZOO_HOME to a folder on another disk.",
        )
    return DataError(
        f"{job.target} cannot be written ({error.strerror or error}).",
        hint="Check the permissions of its folder, or set ZOO_HOME to another folder.",
    )


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
