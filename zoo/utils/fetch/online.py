"""Tells within seconds whether a server can be reached."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request

from zoo.errors import WeightsError

# What to do where pretrained weights cannot be had.
ELSEWHERE = "Give a local file (--weights FILE) or a run (--weights RUN), or start from random values (--weights none)."


def require_reachable(url: str, *, what: str, hint: str, patience: float = 4.0) -> None:
    """Makes sure, within seconds, that a server answers; libraries retry for a minute or wait for ever.

    Proxies of the environment are honoured. Any answer below 500 will do: what it means is the download's business.

    Args:
        url: ``http`` or ``https``; asked for with HEAD.
        what: What is to be downloaded, for the message.
        hint: What to do without it.
        patience: Seconds until the server counts as unreachable, name lookup included.

    Raises:
        WeightsError: No answer, or a server's error.
    """
    reason = why_no_answer(url, patience)
    if reason:
        host = urllib.parse.urlsplit(url).netloc
        raise WeightsError(f"{what} cannot be downloaded from {host}: {reason}.", hint=hint)


def why_no_answer(url: str, patience: float = 4.0) -> str:
    """Returns why a server does not answer in time, or an empty string."""
    answers: queue.Queue[str] = queue.Queue()
    # In a thread, because no timeout of the standard library covers the name lookup.
    threading.Thread(target=lambda: answers.put(_why_unreachable(url, patience)), daemon=True).start()
    try:
        return answers.get(timeout=patience)
    except queue.Empty:
        return f"no answer within {patience:g} s"


def _why_unreachable(url: str, patience: float) -> str:
    """Returns why a server does not answer, or an empty string."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=patience):
            return ""
    except urllib.error.HTTPError as error:
        return f"the server answers {error.code}" if error.code == 407 or error.code >= 500 else ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
