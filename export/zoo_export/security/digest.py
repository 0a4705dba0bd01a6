"""The digest in an exported file: SHA-256 of everything before it, so that a changed byte is found wherever it is.

It is the last entry of an ONNX file's metadata, or the comment of an archive. It reveals damage and later changes. It
does not protect against attackers, who can change it together with the rest; signatures do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from zoo.errors import IntegrityError

KEY = "zoo.sha256"  # in `metadata_props`
_HEX_DIGITS = 64
# `metadata_props` is field 14 of a model, and its key and value are fields 1 and 2 of an entry. A message may be
# continued by appending fields: https://protobuf.dev/programming-guides/encoding/#last-one-wins
_ENTRY = b"\x0a" + bytes([len(KEY)]) + KEY.encode() + b"\x12" + bytes([_HEX_DIGITS])
_ONNX_MARK = b"\x72" + bytes([len(_ENTRY) + _HEX_DIGITS]) + _ENTRY
# A ZIP archive ends with the length of its comment, two bytes, and the comment.
_ZIP_START = f"{KEY} ".encode()
_ZIP_MARK = (len(_ZIP_START) + _HEX_DIGITS).to_bytes(2, "little") + _ZIP_START


@dataclass(frozen=True, slots=True)
class FileDigests:
    """The digests of a file.

    Attributes:
        recorded: The SHA-256 that the file contains; None if it contains none, like the files of earlier versions.
        actual: The SHA-256 of what it covers; None if there is none.
        whole: The SHA-256 of the whole file, for comparison with a manifest.
    """

    recorded: str | None
    actual: str | None
    whole: str

    def agree(self, *, expected: bool) -> bool:
        """Returns whether the file is what was written.

        Args:
            expected: Whether it must contain a digest: whether its card says so.
        """
        return self.recorded == self.actual and (self.recorded is not None or not expected)


def with_digest(content: bytes) -> bytes:
    """Returns the content of an ONNX file, or of a ZIP archive without a comment, with its digest at the end."""
    covered = content[:-2] + _ZIP_MARK if content.startswith(b"PK\x03\x04") else content + _ONNX_MARK
    return covered + hashlib.sha256(covered).hexdigest().encode()


def read_digests(content: bytes) -> FileDigests:
    """Returns the digests of a file's content, in one pass over it."""
    covered, last = memoryview(content)[:-_HEX_DIGITS], content[-_HEX_DIGITS:]
    digest = hashlib.sha256(covered)
    actual = digest.hexdigest()
    digest.update(last)
    if bytes(covered[-len(_ONNX_MARK) :]) == _ONNX_MARK or bytes(covered[-len(_ZIP_MARK) :]) == _ZIP_MARK:
        return FileDigests(recorded=last.decode("ascii", "replace"), actual=actual, whole=digest.hexdigest())
    return FileDigests(recorded=None, actual=None, whole=digest.hexdigest())


def check_digest(digests: FileDigests, *, name: str, expected: bool = False) -> None:
    """Checks that a file is what ``zoo export`` wrote.

    Args:
        digests: Those of its content.
        name: Its name in messages.
        expected: As in `FileDigests.agree`.

    Raises:
        IntegrityError: The content was changed, or the digest is missing.
    """
    if not digests.agree(expected=expected):
        raise IntegrityError(
            f"{name} is not what 'zoo export' wrote: its content and the SHA-256 in it differ.",
            hint="Copy it again, or export the run again. A file that another tool has changed is no longer the run's: "
            "use ONNX Runtime itself.",
        )
