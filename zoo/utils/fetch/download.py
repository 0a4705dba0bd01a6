"""Downloads one file: resumed after a break, checked, and in place only when it is whole."""

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
# Seconds until a server must have answered: whoever is offline is to know it within five.
PATIENCE = 4.5
# Seconds without a byte after which a connection counts as broken.
STALL = 20.0
_CHUNK = 1 << 18
_SECONDS_BETWEEN_LOOKS = 1.0
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)


class _BrokenError(Exception):
    """The connection broke; what came so far is kept, and another attempt goes on from there."""


class _UnreachableError(_BrokenError):
    """No connection came about."""


class _NothingLeft(Exception):  # noqa: N818 - not an error
    """The server says that all of the file has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be downloaded, to where, and how to know that it is right."""

    url: str
    target: Path
    digests: dict[str, str]
    size: int | None
    progress: Progress

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def tag(self) -> Path:
        """Holds the server's name for the version that `part` is a piece of."""
        return self.target.with_name(f"{self.target.name}.part.tag")

    @property
    def by_hand(self) -> str:
        return f"Or fetch {self.url} by other means and put it at {self.target}"

    def restart(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    sha1: str = "",
    sha256: str = "",
    size: int | None = None,
    progress: Progress = no_progress,
    patience: float = PATIENCE,
    stall: float = STALL,
    attempts: int = ATTEMPTS,
) -> Path:
    """Downloads a file unless it is there already.

    What came before a break is kept beside the target as ``.part``, and the next attempt, or the next call, goes on
    from there, if the server can and still has the same version (HTTP Range and If-Range). The checksums are
    compared before the file gets its name.

    Args:
        url: http or https.
        target: Where the file is to lie; its folder is made.
        sha1: In hex; empty when unknown.
        sha256: In hex; empty when unknown.
        size: In bytes, None when unknown.
        progress: Told the bytes that are there and the bytes in all.
        patience: Seconds to wait for the first answer.
        stall: Seconds without a byte after which a connection counts as broken.
        attempts: How often a connection may break.

    Returns:
        `target`.

    Raises:
        DataError: No connection, a refusal, a wrong checksum, a full disk; the hint names the path where a copy
            fetched by other means is found.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url} is not an address to download from.", hint="It begins with http:// or https://")
    digests = {kind: digest.lower() for kind, digest in (("sha1", sha1), ("sha256", sha256)) if digest}
    job = _Job(url=url, target=target, digests=digests, size=size, progress=progress)
    if target.exists():
        check(target, digests)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(job):
            if not target.exists():  # another process may have brought it meanwhile
                _fetch(job, patience=patience, stall=stall, attempts=attempts)
                _finish(job)
    except OSError as error:
        raise _disk_error(job, error) from None
    return target


def check(file: Path, digests: dict[str, str]) -> None:
    """Compares a file with its checksums.

    Args:
        file: To be read.
        digests: By the name of the hash, in hex: ``{"sha1": "fba4..."}``.

    Raises:
        DataError: A checksum differs.
    """
    for kind, expected in digests.items():
        with file.open("rb") as stream:
            # No secret is kept by it: the publisher gives no other checksum.
            digest = functools.partial(hashlib.new, kind, usedforsecurity=False)
            found = hashlib.file_digest(stream, digest).hexdigest()
        if found != expected:
            raise DataError(
                f"{file} is not the file it should be: its {kind.upper()} is {found}, not {expected}.",
                hint="Delete it, so that it is downloaded again.",
            )


@contextmanager
def _alone(job: _Job) -> Iterator[None]:
    """Waits until no other process downloads the file, and tells how far that one is."""
    import filelock

    lock = filelock.FileLock(job.target.with_name(f"{job.part.name}.lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS, poll_interval=0.05)
        except filelock.Timeout:
            job.progress(f"wait for {job.target.name}, which another process downloads", _length(job.part), job.size)
        except FileNotFoundError:
            continue  # deleted between two looks of filelock (before its version 3.20) at the same file
    try:
        yield
        # Who waits for it will find the target. After a failure it stays: two who wait must not hold a lock each.
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()


def _fetch(job: _Job, *, patience: float, stall: float, attempts: int) -> None:
    """Brings `job.part` to its full length."""
    reached = False
    for attempt in range(1, attempts + 1):
        try:
            with _request(job, patience=patience, stall=stall) as response:
                reached = True
                _receive(job, response)
            return
        except _NothingLeft:
            return
        except _BrokenError as error:
            if isinstance(error, _UnreachableError) and not reached:
                hint = f"Is this machine online? {job.by_hand}"
                raise DataError(f"{job.url} cannot be reached ({error}).", hint=hint) from None
            if attempt == attempts:
                hint = f"Call again to go on: {_length(job.part):,} bytes are kept. {job.by_hand}"
                raise DataError(f"{job.url} broke off {attempts} times ({error}).", hint=hint) from None
        time.sleep(min(0.1 * 2**attempt, 5))


def _request(job: _Job, *, patience: float, stall: float) -> Any:
    have = _length(job.part)
    tag = job.tag.read_text() if have and job.tag.exists() else ""
    if have and not tag:
        # Nobody could say whether a second half from today fits a first half from then.
        job.restart()
        have = 0
    headers = {"User-Agent": "finetune-zoo", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        return _open(urllib.request.Request(job.url, headers=headers), patience=patience, stall=stall)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range", "") == f"bytes */{have}":
                    raise _NothingLeft from None
                job.restart()
                raise _BrokenError("the piece that was there did not fit") from None
            if error.code >= 500 or error.code == 429:
                raise _BrokenError(f"HTTP {error.code} {error.reason}") from None
            reason = f"HTTP {error.code} {error.reason}"
        raise DataError(f"{job.url} cannot be downloaded ({reason}).", hint=job.by_hand) from None
    except _NETWORK_ERRORS as error:
        reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        raise _UnreachableError(reason) from None


def _open(request: urllib.request.Request, *, patience: float, stall: float) -> Any:
    """Opens an address within `patience` seconds, name lookup, proxies and redirections included.

    In a thread: the timeout of urllib covers neither the lookup of a name nor the sum of several addresses.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=stall))
        except BaseException as error:  # Handed over, and raised below.
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="zoo-download").start()
    try:
        answer = answers.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError(f"no answer within {patience:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _receive(job: _Job, response: Any) -> None:
    """Writes one response to `job.part`, behind what is there if the server goes on, else anew."""
    have = _length(job.part)
    goes_on = response.status == 206 and _range_start(response) == have
    if response.status == 206 and not goes_on:
        job.restart()
        raise _BrokenError("the server sent another piece than was asked for")
    have = have if goes_on else 0
    left = response.headers.get("Content-Length")
    total = have + int(left) if left is not None else job.size
    if job.size is not None and total != job.size:
        raise DataError(f"{job.url} has {total:,} bytes, not {job.size:,}: another file.", hint=job.by_hand)
    _check_space(job, (total or 0) - have)
    with job.part.open("ab" if goes_on else "wb") as file:
        _remember_version(job, response)
        have = _copy(job, response, file, have, total)
    if total is not None and have < total:
        raise _BrokenError(f"it ended after {have:,} of {total:,} bytes")


def _copy(job: _Job, response: Any, file: BinaryIO, have: int, total: int | None) -> int:
    what = f"download {job.target.name}"
    job.progress(what, have, total)
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except _NETWORK_ERRORS as error:
            raise _BrokenError(str(error) or type(error).__name__) from None
        if not chunk:
            return have
        file.write(chunk)
        have += len(chunk)
        job.progress(what, have, total)


def _remember_version(job: _Job, response: Any) -> None:
    tag = response.headers.get("ETag", "")
    # A weak tag ("W/...") promises the same meaning, not the same bytes.
    if not tag or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified", "")
    job.tag.write_text(tag)


def _range_start(response: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _finish(job: _Job) -> None:
    try:
        check(job.part, job.digests)
    except DataError as error:
        job.restart()
        raise DataError(
            f"What came from {job.url} is damaged or another file: {error.message.partition(': ')[2]}",
            hint=f"Try again. {job.by_hand}",
        ) from None
    job.part.replace(job.target)
    job.tag.unlink(missing_ok=True)


def _check_space(job: _Job, needed: int) -> None:
    free = shutil.disk_usage(job.target.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 2**20:.0f} MiB are needed, {free / 2**20:.0f} MiB are free")


def _disk_error(job: _Job, error: OSError) -> DataError:
    if error.errno == errno.ENOSPC:
        return DataError(
            f"The disk is full: {job.target} cannot be downloaded ({error.strerror}).",
            hint="Make room, or let ZOO_HOME name a folder on another disk.",
        )
    return DataError(
        f"{job.target} cannot be written ({error.strerror or error}).",
        hint="Check the permissions of its folder, or let ZOO_HOME name another.",
    )


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
