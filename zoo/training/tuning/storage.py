"""Where a study is stored: a journal file, any database that Optuna takes, or a gRPC proxy in front of one."""

from __future__ import annotations

import os
import time
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

from zoo.errors import ConfigError, RunError, ZooError
from zoo.utils.installer import install_command
from zoo.utils.paths import parse_path
from zoo.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.storages import BaseStorage

_GRPC, _REDIS = "grpc", "redis"
_SECONDS_TO_CONNECT = 20.0
_SQLITE_SECONDS = 60  # for which a process waits while another one writes
_SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_LOCK_SECONDS = 60.0
_ATTEMPTS, _SECONDS_BETWEEN_ATTEMPTS = 20, 0.1  # at a database whose tables another process creates meanwhile
_CREATED_MEANWHILE = ("already exists", "unique constraint", "duplicate")  # SQLite's, PostgreSQL's and MySQL's words
_PACKAGES = {"grpc": "grpcio", "redis": "redis", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


class _JournalLock:
    """Locks a journal with the operating system, which frees the lock of a process that was killed.

    Optuna's own locks are files, which such a process leaves behind, and which others then wait for.
    """

    def __init__(self, journal: Path) -> None:
        import filelock

        self._lock = filelock.FileLock(f"{journal}.lock", timeout=_LOCK_SECONDS, thread_local=False)

    def acquire(self) -> bool:
        """Waits for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Frees the lock."""
        self._lock.release()


def open_storage(storage: str, *, default: Path) -> BaseStorage:
    """Returns the storage of studies.

    Args:
        storage: The URL of a database (``sqlite:///studies.db``, ``postgresql://...``, ``redis://...``), a gRPC proxy
            (``grpc://host:port``), or the path of a journal file; empty for `default`.
        default: The path of a journal file, whose folder exists.

    Raises:
        ConfigError: There is no such storage, it cannot be reached, or a package for it is missing.
    """
    with storage_errors(storage or str(default)):
        if "://" not in storage:
            return _open_journal(parse_path(storage) if storage else default)
        url = urlsplit(storage)
        if url.scheme == _GRPC:
            return _open_proxy(storage, url.hostname or "localhost", url.port)
        if url.scheme.startswith(_REDIS):
            return JournalStorage(JournalRedisBackend(storage))
        is_sqlite = url.scheme.startswith("sqlite")
        arguments = {"connect_args": {"timeout": _SQLITE_SECONDS}} if is_sqlite else {"pool_pre_ping": True}
        return _open_database(storage, arguments)


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Makes errors of databases and networks in a block say which storage failed.

    Raises:
        ConfigError: The URL is wrong, or a package is missing.
        RunError: The storage cannot be read or written.
    """
    try:
        yield
    except ZooError:
        raise
    except ModuleNotFoundError as error:
        package = _PACKAGES.get((error.name or "").partition(".")[0], error.name or "")
        raise ConfigError(
            f"The storage {hide_password(storage)} needs the package {package}, which is not installed.",
            hint=f"Install it: {install_command(package)}",
        ) from error
    except (OptunaError, OSError, ValueError, KeyError, AssertionError) as error:
        raise _storage_error(storage, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlalchemy", "grpc", "redis", "filelock", "alembic"):
            raise
        raise _storage_error(storage, error) from error


def hide_password(storage: str) -> str:
    """Returns a storage as it may be shown and written."""
    with suppress(ValueError):
        if password := urlsplit(storage).password:
            return storage.replace(f":{password}@", ":***@")
    return storage


def _storage_error(storage: str, error: Exception) -> RunError:
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    details = getattr(cause, "details", None)  # of gRPC
    reason = str(details()) if callable(details) else first_line(cause)
    return RunError(
        f"The storage {hide_password(storage)} cannot be used: {reason.rstrip('.')}.",
        hint="Pass the path of a journal file, the URL of a database such as sqlite:///tune.db, or a gRPC proxy: "
        "grpc://host:port.",
    )


def _open_database(storage: str, arguments: dict[str, Any]) -> BaseStorage:
    """Opens a database, and creates the tables that it lacks, also while another process does the same."""
    from sqlalchemy.exc import DBAPIError

    for _ in range(_ATTEMPTS - 1):
        try:
            return RDBStorage(storage, engine_kwargs=arguments)
        except DBAPIError as error:
            if not any(text in str(error.orig).lower() for text in _CREATED_MEANWHILE):
                raise
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
    return RDBStorage(storage, engine_kwargs=arguments)


def _open_proxy(storage: str, host: str, port: int | None) -> BaseStorage:
    if port is None:
        raise ConfigError(f"The storage {storage} has no port.", hint=f"For example: {storage.rstrip('/')}:13000")
    import grpc  # noqa: F401  a missing package is an error at once

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host, port=port)
    proxy.wait_server_ready(timeout=_SECONDS_TO_CONNECT)
    return proxy


def _open_journal(path: Path) -> BaseStorage:
    if path.suffix.lower() in _SQLITE_SUFFIXES:
        raise ConfigError(f"{path} is the name of a database.", hint=f"Pass its URL: --storage sqlite:///{path}")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} for the journal {path.name}.", hint="Create it first.")
    lock = _JournalLock(path)
    _repair(path, lock)
    return JournalStorage(JournalFileBackend(os.fspath(path), lock_obj=lock))  # type: ignore[arg-type]  # it calls only the two methods


def _repair(path: Path, lock: _JournalLock) -> None:
    """Removes a last line that is incomplete, as a full disk leaves it: what follows would not be readable."""
    if not path.is_file():
        return
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()
