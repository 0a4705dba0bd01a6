"""Text that is safe to print: names of files and classes may hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    """Returns text fit for one line of a terminal: control characters, as a file name may hold, are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Returns text fit for one line of a terminal; several lines are joined."""
    return printable(" ".join(text.split()) if "\n" in text else text)
