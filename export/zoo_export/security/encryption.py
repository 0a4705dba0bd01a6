"""Encrypts and decrypts files with age; decrypts into memory if a file is only to be used.

The format is https://age-encryption.org/v1, so the tools ``age`` and ``rage`` read and write the same files. It is
authenticated: a changed or missing byte is an error, never a changed model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError
from zoo.utils.files import atomic_write
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUFFIX = ".age"
PASSPHRASE_FILE = "ZOO_PASSPHRASE_FILE"
KEY_FILE = "ZOO_KEY_FILE"
_PUBLIC, _PRIVATE = "age1", "AGE-SECRET-KEY-1"
_MAGIC = b"age-encryption.org/v1\n"
_MAX_KEY_FILE = 1 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What decrypts a file: a passphrase, or private keys of age; never both.

    Attributes:
        passphrase: Not empty, or None.
        keys: Private keys, ``AGE-SECRET-KEY-1...``.
    """

    passphrase: str | None = None
    keys: tuple[str, ...] = ()


def create_key(path: Path) -> str:
    """Writes a new private key that only its owner can read, and returns its public key, ``age1...``.

    Raises:
        IntegrityError: The file already exists, or is not writable.
    """
    from pyrage import x25519

    identity = x25519.Identity.generate()
    public = str(identity.to_public())
    write_private(path, f"# public key: {public}\n{identity}\n".encode())
    return public


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that only its owner can read.

    Raises:
        IntegrityError: The file already exists, or is not writable.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise IntegrityError(f"{path} already exists.", hint="Keys are never overwritten: pass another name.") from None
    except OSError as error:
        raise IntegrityError(f"Cannot write {path}: {error.strerror}.") from error


def read_key_file(path: Path) -> Secret:
    """Returns the private keys in a file, one per line, as ``age-keygen`` and `create_key` write them.

    Raises:
        IntegrityError: The file is not readable, or contains no private key.
    """
    keys = [line for line in _read_lines(path) if line.startswith(_PRIVATE)]
    if not keys:
        raise IntegrityError(
            f"{path} contains no private key of age.",
            hint=f"A key is a line {_PRIVATE}...; 'zoo encrypt --new-key' writes one.",
        )
    return Secret(keys=tuple(keys))


def read_recipients(key: str) -> list[str]:
    """Returns the public keys that an option refers to: ``age1...`` itself, or a file of public or private keys.

    Raises:
        IntegrityError: The file is not readable, or contains no key.
    """
    if key.startswith(_PUBLIC):
        return [key]
    found = [line for line in _read_lines(Path(key)) if line.startswith((_PUBLIC, _PRIVATE))]
    if not found:
        raise IntegrityError(
            f"{key} contains no key of age.", hint=f"Pass {_PUBLIC}... itself, or a file with lines {_PUBLIC}..."
        )
    return [line if line.startswith(_PUBLIC) else str(_parse_identity(line, key).to_public()) for line in found]


def read_passphrase(path: Path) -> Secret:
    """Returns the first line of a file as a passphrase.

    Raises:
        IntegrityError: The file is not readable, or its first line is empty.
    """
    passphrase = next(iter(_read_lines(path)), "")
    if not passphrase:
        raise IntegrityError(f"The first line of {path} is empty.", hint="Write the passphrase to the first line.")
    return Secret(passphrase=passphrase)


def find_secret(path: Path, *, ask: Callable[[str], str] | None = None) -> Secret:
    """Returns the secret for a file: from the file in ``ZOO_KEY_FILE`` or ``ZOO_PASSPHRASE_FILE``, or by asking.

    Args:
        path: An encrypted file, which determines which of the two is needed.
        ask: Prompts for the passphrase of what its argument names; None without a terminal.

    Raises:
        IntegrityError: There is no secret, or its file is not readable.
    """
    passphrase = needs_passphrase(path)
    variable, read, what = (
        (PASSPHRASE_FILE, read_passphrase, "a passphrase") if passphrase else (KEY_FILE, read_key_file, "a private key")
    )
    if named := os.environ.get(variable):
        return read(Path(named))
    if passphrase and ask is not None:
        return Secret(passphrase=ask(path.name))
    raise IntegrityError(f"{path} is encrypted and needs {what}.", hint=f"Set {variable} to the file that contains it.")


def needs_passphrase(path: Path) -> bool:
    """Returns whether a file was encrypted with a passphrase rather than for keys.

    Raises:
        IntegrityError: The file is not readable, or not in the format of age.
    """
    try:
        with path.open("rb") as file:
            magic, stanza = file.readline(100), file.readline(100)
    except OSError as error:
        raise _unreadable(path, error) from error
    if magic != _MAGIC:
        raise IntegrityError(f"{path} is not encrypted with age.", hint="'zoo encrypt' writes such files.")
    return stanza.startswith(b"-> scrypt ")


def encrypt_file(path: Path, target: Path, *, passphrase: str = "", recipients: Sequence[str] = ()) -> None:
    """Encrypts a file with a passphrase or for keys; `target` appears only once it is complete.

    Encryption for keys streams the file; with a passphrase the file is held in memory, twice.

    Args:
        path: The file to encrypt; it is kept.
        target: The encrypted file.
        passphrase: age derives a key from it with scrypt, which takes about a second and up to 1 GiB of memory.
        recipients: Public keys, ``age1...``; the private key of each decrypts the file.

    Raises:
        IntegrityError: The file is not readable, `target` is the file itself, or a key is invalid.
        RunError: `target` is not writable.
    """
    import pyrage

    _check_distinct(path, target)
    if bool(passphrase) == bool(recipients):
        raise IntegrityError("A file is encrypted either with a passphrase or for keys.", hint="Pass one of the two.")
    try:
        public = [pyrage.x25519.Recipient.from_str(each) for each in recipients]
    except pyrage.RecipientError as error:
        raise IntegrityError(
            f"A public key is invalid: {error}.", hint="It starts with age1; copy all of it."
        ) from None
    with _open(path) as source, atomic_write(target) as temporary, temporary.open("wb") as sink:
        try:
            if public:
                pyrage.encrypt_io(source, sink, public)
            else:
                sink.write(pyrage.passphrase.encrypt(source.read(), passphrase))
        except pyrage.EncryptError as error:
            raise OSError(str(error)) from error  # an error of the disk: age accepts any content


def decrypt_file(path: Path, target: Path, secret: Secret) -> None:
    """Decrypts a file; `target` appears only once it is complete and authenticated.

    Raises:
        IntegrityError: As `read_decrypted`; or `target` is the file itself.
        RunError: `target` is not writable.
    """
    import pyrage

    _check_distinct(path, target)
    if secret.passphrase is not None:
        content = read_decrypted(path, secret)
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
        return
    identities = _identities(path, secret)
    with _open(path) as source, atomic_write(target) as temporary, temporary.open("wb") as sink:
        _decrypt(path, lambda: pyrage.decrypt_io(source, sink, identities))


def read_decrypted(path: Path, secret: Secret) -> bytes:
    """Returns the content of an encrypted file; nothing of it is written to disk.

    Raises:
        IntegrityError: The key or passphrase is wrong, or the file is truncated, modified or not encrypted.
    """
    import pyrage

    identities = _identities(path, secret)
    with _open(path) as source:
        content = source.read()
    if secret.passphrase is not None:
        return bytes(_decrypt(path, lambda: pyrage.passphrase.decrypt(content, secret.passphrase)))
    return bytes(_decrypt(path, lambda: pyrage.decrypt(content, identities)))


def _check_distinct(path: Path, target: Path) -> None:
    if target.exists() and path.exists() and target.samefile(path):
        raise IntegrityError(f"{target} is the input file itself, which is kept.", hint="Pass another file with -o.")


def _identities(path: Path, secret: Secret) -> list[Any]:
    """Returns the keys as pyrage takes them, after checking that the file needs this kind of secret."""
    if needs_passphrase(path) and secret.passphrase is None:
        raise IntegrityError(f"{path} is encrypted with a passphrase, not for a key.", hint="Leave out the key.")
    if not needs_passphrase(path) and secret.passphrase is not None:
        raise IntegrityError(f"{path} is encrypted for a key, not with a passphrase.", hint="Pass the key file.")
    return [_parse_identity(key, "the key file") for key in secret.keys]


def _parse_identity(key: str, where: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(key)
    except pyrage.IdentityError as error:
        raise IntegrityError(
            f"A private key in {where} is invalid: {error}.", hint="The file may be truncated."
        ) from None


def _decrypt(path: Path, decrypt: Callable[[], Any]) -> Any:
    import pyrage

    try:
        return decrypt()
    except (pyrage.DecryptError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; age reports damage in the middle of a file as an OSError without a number
        reason, _, advice = str(error).strip().partition("\n")
    problem, hint = {
        "No matching keys found": ("is not encrypted for this key", "Ask its sender for which key it is encrypted."),
        "Decryption failed": (
            "does not open with this passphrase",
            "If the passphrase is right, the start of the file is damaged.",
        ),
        "Excessive work parameter for passphrase.": ("demands more work than this machine can do", advice),
    }.get(reason, (f"is modified or truncated ({reason.rstrip('.')})", "Get the file again; nothing was decrypted."))
    raise IntegrityError(f"{path} {problem}.", hint=hint)


def _read_lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            return [line.strip("\r\n") for line in file.read(_MAX_KEY_FILE).splitlines()]
    except UnicodeDecodeError:
        raise IntegrityError(f"{path} is not a text file.", hint="Check that it is the right file.") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> IntegrityError:
    return IntegrityError(f"{path} cannot be read: {error.strerror}.", hint=missing_path_advice(path))
