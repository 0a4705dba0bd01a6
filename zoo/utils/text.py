"""Makes text safe to print: the names of files and classes may contain anything."""

from __future__ import annotations


def printable(text: str) -> str:
    """Returns `text` with its control characters escaped, such as those of a file name."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Returns `text` on one line, printable."""
    return printable(" ".join(text.split()) if "\n" in text else text)
