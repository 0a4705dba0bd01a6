"""Checks whether a download server answers, within seconds; for plugins that download weights or datasets."""

from __future__ import annotations

import http.client
import math
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request

from zoo.errors import ConfigError, WeightsError
from zoo.plugins.specs import Finding
from zoo.utils.arguments import NUMBER, TEXT, accepts

TIMEOUT = 4.0
WEIGHTS_HINT = "Pass a file (--weights FILE) or a run (--weights RUN), or start from random values (--weights none)."


@accepts(url=TEXT, about=TEXT, timeout=NUMBER)
def check_server(url: str, *, about: str, timeout: float = TIMEOUT) -> Finding:
    """Returns a finding for ``zoo doctor``: no answer is a warning, because earlier downloads still work.

    Args:
        url: ``http`` or ``https``.
        about: The subject of the finding.
        timeout: Seconds until the server counts as unreachable.

    Raises:
        ConfigError: The timeout is not a positive, finite number.
    """
    if not 0 < timeout < math.inf:
        raise ConfigError(f"check_server: timeout is {timeout}.", hint="Pass a positive number of seconds.")
    host = urllib.parse.urlsplit(url).netloc
    reason = unreachable_reason(url, timeout=timeout)
    if not reason:
        return Finding(about=about, status="ok", text=f"{host} answers")
    return Finding(
        about=about,
        status="warning",
        text=f"{host} does not answer: {reason}",
        advice="Earlier downloads still work. Behind a proxy, set HTTPS_PROXY; 'zoo list' marks what works offline.",
    )


def require_server(url: str, *, what: str, hint: str = WEIGHTS_HINT, timeout: float = TIMEOUT) -> None:
    """Checks that a server answers before a library contacts it, which may retry for a minute or wait for ever.

    Args:
        url: ``http`` or ``https``.
        what: What the server provides, for the message: ``"The pretrained weights of resnet18"``.
        hint: What to do without the server.
        timeout: Seconds until the server counts as unreachable.

    Raises:
        WeightsError: The server does not answer, or answers with an error of its own.
    """
    if reason := unreachable_reason(url, timeout=timeout):
        host = urllib.parse.urlsplit(url).netloc
        raise WeightsError(f"{what} cannot be downloaded from {host}: {reason}.", hint=hint, offline=True)


def unreachable_reason(url: str, *, timeout: float = TIMEOUT) -> str:
    """Returns why a server does not answer a HEAD request in time, or an empty string if it does.

    Honours the proxies of the environment. Any status below 500 counts as an answer: the download deals with it.
    """
    reasons: queue.Queue[str] = queue.Queue()
    # In a thread, because no timeout of the standard library covers the name lookup.
    threading.Thread(target=lambda: reasons.put(_request_head(url, timeout)), daemon=True).start()
    try:
        return reasons.get(timeout=timeout)
    except queue.Empty:
        return f"no answer within {timeout:g} s"


def _request_head(url: str, timeout: float) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
            return ""
    except urllib.error.HTTPError as error:
        return f"the server answers {error.code}" if error.code == 407 or error.code >= 500 else ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
