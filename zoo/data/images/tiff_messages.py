"""What libtiff writes to stderr while Pillow decodes with it: kept, with the photo that it is about.

Of the C libraries that decode for Pillow, libtiff alone prints its messages. They are the only description of what is
wrong with a file: Pillow's own is "decoder error -2". libtiff calls its handler in the thread that decodes, so each
message finds its photo, whatever other threads decode meanwhile, and a file without one costs nothing.

See https://libtiff.gitlab.io/libtiff/functions/TIFFError.html.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import _imaging

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_BYTES = 500  # of a message
_MAX_MESSAGES = 3  # of a photo
_PSEUDO_NAME = "tempfile.tif: "  # what Pillow tells libtiff that the file is called
_decoding = threading.local()


@contextmanager
def collected_messages() -> Iterator[list[str]]:
    """Yields the list to which the messages about what this thread decodes in the block are added."""
    _install_handler()
    messages: list[str] = []
    _decoding.messages = messages
    try:
        yield messages
    finally:
        _decoding.messages = None


@functools.cache
def _install_handler() -> Any:
    """Replaces libtiff's handler of errors for good; where Pillow contains libtiff without its names, it does nothing.

    Returns:
        What must not be garbage-collected.
    """
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        format_message = ctypes.CDLL(None).vsnprintf
    except (AttributeError, OSError, TypeError):  # as in Windows, where it is linked statically
        return None
    # (module, format, va_list): a va_list is passed like a pointer on all platforms that have these names.
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    format_message.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)
    set_handler.argtypes, set_handler.restype = (prototype,), ctypes.c_void_p

    def handle(module: bytes | None, form: bytes, values: int) -> None:
        messages = getattr(_decoding, "messages", None)
        if messages is None:  # whoever else uses Pillow
            if previous:
                prototype(previous)(module, form, values)
            return
        if len(messages) < _MAX_MESSAGES:
            buffer = ctypes.create_string_buffer(_MAX_BYTES)
            format_message(buffer, _MAX_BYTES, form, values)
            messages.append(_clean(module or b"", buffer.value))

    handler = prototype(handle)
    previous = set_handler(handler)
    return handler


def _clean(module: bytes, text: bytes) -> str:
    message = f"{module.decode(errors='replace')}: {text.decode(errors='replace').strip()}"
    return message.replace(_PSEUDO_NAME, "").rstrip(".")
