"""Shows Python's warnings on stderr: of plugins, hubs and photos in one line each, and not too many."""

from __future__ import annotations

import warnings
from typing import Any

from zoo.display import console
from zoo.errors import HubWarning, ImageWarning, PluginWarning

_MAX_PHOTOS = 5  # that are named; further ones are counted
_show_python_warning = warnings.showwarning


class WarningLines:
    """Replaces `warnings.showwarning` for one command."""

    def __init__(self) -> None:
        self._photos = 0

    def show(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        """Shows a warning; of those about photos, the first few."""
        if issubclass(category, ImageWarning):
            self._photos += 1
            if self._photos <= _MAX_PHOTOS:
                console.write_warning(str(message))
        elif issubclass(category, HubWarning | PluginWarning):
            console.write_warning(str(message))
        else:
            _show_python_warning(message, category, *where, **more)

    def summarise(self) -> None:
        """Shows how many photos have a warning that was not shown."""
        if (more := self._photos - _MAX_PHOTOS) > 0:
            subject = "1 more photo is" if more == 1 else f"{more:,} more photos are"
            console.write_warning(f"{subject} damaged, {self._photos:,} in all.")
