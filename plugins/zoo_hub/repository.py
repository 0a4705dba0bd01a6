"""Names of repositories on the Hub, and what its errors mean. Imports huggingface_hub only when it is needed."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zoo.errors import ConfigError, RunError, ZooError
from zoo.utils.installer import install_command
from zoo.utils.text import first_line, short_repr

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN = "main"
LOG_IN = "Log in with 'hf auth login', or set HF_TOKEN to a token"
_PART = r"[A-Za-z0-9][\w.\-]*"
_REPOSITORY = re.compile(rf"(?P<user>{_PART})/(?P<name>{_PART})(?:@(?P<revision>[^\s@:]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the Hub, in one of its versions.

    Attributes:
        user: Its owner; empty while unknown.
        name: Its name without the owner.
        revision: A branch, a tag or a commit.
    """

    user: str
    name: str
    revision: str = MAIN

    @property
    def id(self) -> str:
        """``"anna/hotdog"``."""
        return f"{self.user}/{self.name}" if self.user else self.name

    def __str__(self) -> str:
        return f"hf:{self.id}" if self.revision == MAIN else f"hf:{self.id}@{self.revision}"


def parse_repository(text: str) -> Repository:
    """Returns the repository that a text such as ``anna/hotdog`` or ``anna/hotdog@v2`` names.

    Raises:
        ConfigError: It names none.
    """
    match = _REPOSITORY.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{short_repr(text)} is not the name of a repository on the Hub.",
            hint="Write user/name, or user/name@revision for a branch, a tag or a commit.",
        )
    return Repository(match["user"], match["name"], match["revision"] or MAIN)


def endpoint() -> str:
    """Returns the address of the Hub: that in HF_ENDPOINT, or https://huggingface.co.

    Raises:
        RunError: The package huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError as error:
        raise RunError(
            f"The Hub cannot be used, because {error.name} is not installed.",
            hint=f"Install it: {install_command('finetune-zoo-runtime[hub]')}",
        ) from error
    return constants.ENDPOINT


def host() -> str:
    """Returns the host of the Hub, for messages."""
    return urlsplit(endpoint()).netloc or endpoint()


@contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[None]:
    """Lets huggingface_hub show its progress bars in the block only on a terminal, and only if they should be shown."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled() or (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def explained_errors(repository: Repository, action: str) -> Iterator[None]:
    """Turns the errors of huggingface_hub in the block into ones that say what to do.

    Args:
        repository: The repository that the block works on.
        action: What the block does, for messages: ``"downloaded"``.

    Raises:
        RunError: The Hub or the connection failed.
        EntryNotFoundError: The repository does not have a file; whether it should have is for the caller to know.
    """
    try:
        yield
    except ZooError:
        raise
    # The transport of huggingface_hub, and so its exceptions, differ between versions.
    except Exception as error:
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise
        raise _explain(error, repository, action) from error


def _explain(error: Exception, repository: Repository, action: str) -> RunError:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error.__cause__, HfHubHTTPError):  # of an answer that was taken for a lack of connection
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return RunError(
            f"hf:{repository.id} is gated: its owner decides who may read it.",
            hint=f"Ask for access on {endpoint()}/{repository.id}. {LOG_IN} of an account that has it.",
        )
    if isinstance(error, RevisionNotFoundError):
        return RunError(
            f"hf:{repository.id} has no revision '{repository.revision}'.",
            hint=f"{endpoint()}/{repository.id}/tree/{MAIN} lists its branches, tags and commits.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return RunError(
            f"There is no repository {repository.id} on {host()}, or it is private and you may not read it.",
            hint=f"Check the name. {LOG_IN} that may read it.",
        )
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error.response.status_code, error, repository, action)
    reason = first_line(error.__cause__ or error)
    return RunError(
        f"hf:{repository.id} cannot be {action}: {reason}.",
        hint="The connection may have been lost. Try again; complete files are not transferred twice.",
    )


def _explain_status(status: int, error: Exception, repository: Repository, action: str) -> RunError:
    if status == 401:
        return RunError(f"{host()} does not accept the token.", hint=f"{LOG_IN} that is valid.")
    if status == 403:
        right = "write to" if action == "pushed" else "read"
        return RunError(f"You may not {right} hf:{repository.id} on {host()}.", hint=f"{LOG_IN} that may.")
    text = getattr(error, "server_message", None) or first_line(error)
    return RunError(f"hf:{repository.id} cannot be {action}: {host()} answers {status}, {text}.")
