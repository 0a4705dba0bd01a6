"""Checks for ``zoo doctor`` that several plugins share."""

from __future__ import annotations

import urllib.parse

from zoo.plugins.specs import Finding
from zoo.utils.fetch.online import why_no_answer


def check_server(url: str, *, about: str, patience: float = 4.0) -> Finding:
    """Returns whether a download server answers. Being offline is a warning: earlier downloads go on working.

    Args:
        url: ``http`` or ``https``.
        about: What the finding is listed under.
        patience: Seconds until the server counts as unreachable.
    """
    host = urllib.parse.urlsplit(url).netloc
    reason = why_no_answer(url, patience)
    if not reason:
        return Finding(about=about, status="ok", text=f"{host} answers")
    return Finding(
        about=about,
        status="warning",
        text=f"{host} does not answer: {reason}",
        advice="Earlier downloads still work. Behind a proxy, set HTTPS_PROXY; offline, use --weights FILE or none.",
    )
