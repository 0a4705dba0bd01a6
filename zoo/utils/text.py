"""Makes text safe to print: the names of files and classes may contain anything."""

from __future__ import annotations

_MAX_QUOTED = 60  # characters


def printable(text: str) -> str:
    """Returns `text` with its control characters escaped, such as those of a file name."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def short_repr(value: object) -> str:
    """Returns the representation of a wrong value for a message: in one line of moderate length."""
    text = one_line(value if isinstance(value, str) else repr(value))
    text = text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."
    return repr(text) if isinstance(value, str) else text


def article(noun: str) -> str:
    """Returns a noun with its indefinite article: ``"an optimizer"``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def one_line(text: str) -> str:
    """Returns `text` on one line, printable."""
    return printable(" ".join(text.split()) if "\n" in text else text)


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's text, without a full stop; the name of its type if it has no text."""
    return str(error).strip().partition("\n")[0].rstrip(". ") or type(error).__name__
