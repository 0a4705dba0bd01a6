"""Encrypts files with age, and decrypts them, into memory where they are only to be used.

The format is that of https://age-encryption.org/v1, so the tools ``age`` and ``rage`` read and write the same files. It
authenticates: a changed or missing byte is an error, never a changed model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError
from zoo.utils.files import atomic_write

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
    """What opens a file: a passphrase, or private keys of age; not both.

    Attributes:
        passphrase: Not empty, or None.
        keys: ``AGE-SECRET-KEY-1...`` each.
    """

    passphrase: str | None = None
    keys: tuple[str, ...] = ()


def new_key(path: Path) -> str:
    """Writes a new private key, readable by its owner alone, and returns its public key, ``age1...``.

    Raises:
        IntegrityError: The file is there already, or cannot be written.
    """
    from pyrage import x25519

    identity = x25519.Identity.generate()
    public = str(identity.to_public())
    write_private(path, f"# public key: {public}\n{identity}\n".encode())
    return public


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that its owner alone can read.

    Raises:
        IntegrityError: The file is there already, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise IntegrityError(f"{path} is there already.", hint="A key is never overwritten: name another.") from None
    except OSError as error:
        raise IntegrityError(f"Cannot write {path}: {error.strerror}.") from error


def read_key_file(path: Path) -> Secret:
    """Returns the private keys in a file, one a line, as ``age-keygen`` and `new_key` write it.

    Raises:
        IntegrityError: There is no such file, or no private key in it.
    """
    keys = [line for line in _lines(path) if line.startswith(_PRIVATE)]
    if not keys:
        raise IntegrityError(
            f"{path} holds no private key of age.",
            hint=f"It has a line {_PRIVATE}...; 'zoo encrypt --new-key' writes one.",
        )
    return Secret(keys=tuple(keys))


def read_recipients(key: str) -> list[str]:
    """Returns the public keys that an option names: ``age1...`` itself, or a file with public or private keys.

    Raises:
        IntegrityError: There is no such file, or no key in it.
    """
    if key.startswith(_PUBLIC):
        return [key]
    found = [line for line in _lines(Path(key)) if line.startswith((_PUBLIC, _PRIVATE))]
    if not found:
        raise IntegrityError(
            f"{key} holds no key of age.", hint=f"Give {_PUBLIC}... itself, or a file with lines {_PUBLIC}..."
        )
    return [line if line.startswith(_PUBLIC) else str(_identity(line, key).to_public()) for line in found]


def read_passphrase(path: Path) -> Secret:
    """Returns the first line of a file as a passphrase.

    Raises:
        IntegrityError: The file cannot be read, or its first line is empty.
    """
    passphrase = next(iter(_lines(path)), "")
    if not passphrase:
        raise IntegrityError(f"{path} begins with an empty line.", hint="The passphrase is its first line.")
    return Secret(passphrase=passphrase)


def find_secret(path: Path, *, ask: Callable[[str], str] | None = None) -> Secret:
    """Returns what opens a file: from the file that ``ZOO_KEY_FILE`` or ``ZOO_PASSPHRASE_FILE`` names, or by asking.

    Args:
        path: An encrypted file, which says which of the two it wants.
        ask: Asked for the passphrase of what its argument names, where there is somebody to be asked.

    Raises:
        IntegrityError: There is none, or the file of the secret cannot be read.
    """
    passphrase = wants_passphrase(path)
    variable, read, what = (
        (PASSPHRASE_FILE, read_passphrase, "a passphrase") if passphrase else (KEY_FILE, read_key_file, "a private key")
    )
    if named := os.environ.get(variable):
        return read(Path(named))
    if passphrase and ask is not None:
        return Secret(passphrase=ask(path.name))
    raise IntegrityError(
        f"{path} is encrypted, and wants {what}.", hint=f"Name the file that holds it in the variable {variable}."
    )


def wants_passphrase(path: Path) -> bool:
    """Returns whether a file was encrypted with a passphrase rather than for keys.

    Raises:
        IntegrityError: It cannot be read, or is no file of age.
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
    """Encrypts a file with a passphrase, or for keys; `target` appears when it is whole.

    For keys the file passes through in pieces; with a passphrase it is held in memory, twice.

    Args:
        path: What to encrypt; it stays.
        target: The encrypted file.
        passphrase: From which age derives a key with scrypt, at about a second and up to 1 GiB of memory.
        recipients: Public keys, ``age1...``; each one's private key opens the file.

    Raises:
        IntegrityError: The file cannot be read, or is the target itself, or a key is none.
        RunError: `target` cannot be written.
    """
    import pyrage

    _check_apart(path, target)

    if bool(passphrase) == bool(recipients):
        raise IntegrityError("A file is encrypted with a passphrase or for keys.", hint="Give one of the two.")
    try:
        public = [pyrage.x25519.Recipient.from_str(each) for each in recipients]
    except pyrage.RecipientError as error:
        raise IntegrityError(
            f"A public key is not readable: {error}.", hint="It begins with age1; copy it whole."
        ) from None
    with _opened(path) as source, atomic_write(target) as aside, aside.open("wb") as sink:
        try:
            if public:
                pyrage.encrypt_io(source, sink, public)
            else:
                sink.write(pyrage.passphrase.encrypt(source.read(), passphrase))
        except pyrage.EncryptError as error:
            raise OSError(str(error)) from error  # of the disk: age itself refuses no content


def decrypt_file(path: Path, target: Path, secret: Secret) -> None:
    """Decrypts a file to another, which appears when it is whole and proven unchanged.

    Raises:
        IntegrityError: As `read_decrypted`; or the file is the target itself.
        RunError: `target` cannot be written.
    """
    import pyrage

    _check_apart(path, target)

    if secret.passphrase is not None:
        content = read_decrypted(path, secret)
        with atomic_write(target) as aside:
            aside.write_bytes(content)
        return
    identities = _identities(path, secret)
    with _opened(path) as source, atomic_write(target) as aside, aside.open("wb") as sink:
        _decrypted(path, lambda: pyrage.decrypt_io(source, sink, identities))


def read_decrypted(path: Path, secret: Secret) -> bytes:
    """Returns the content of an encrypted file; nothing of it is written to a disk.

    Raises:
        IntegrityError: The key or passphrase does not fit, or the file is cut off, changed or not encrypted.
    """
    import pyrage

    identities = _identities(path, secret)
    with _opened(path) as source:
        content = source.read()
    if secret.passphrase is not None:
        return bytes(_decrypted(path, lambda: pyrage.passphrase.decrypt(content, secret.passphrase)))
    return bytes(_decrypted(path, lambda: pyrage.decrypt(content, identities)))


def _check_apart(path: Path, target: Path) -> None:
    if target.exists() and path.exists() and target.samefile(path):
        raise IntegrityError(f"{target} is the file itself, which is to stay.", hint="Name another with -o.")


def _identities(path: Path, secret: Secret) -> list[Any]:
    """Returns the keys as pyrage wants them, once it is clear that the file asks for what there is."""
    if wants_passphrase(path) and secret.passphrase is None:
        raise IntegrityError(f"{path} was encrypted with a passphrase, not for a key.", hint="Leave the key out.")
    if not wants_passphrase(path) and secret.passphrase is not None:
        raise IntegrityError(f"{path} was encrypted for a key, not with a passphrase.", hint="Name the key file.")
    return [_identity(key, "the key file") for key in secret.keys]


def _identity(key: str, where: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(key)
    except pyrage.IdentityError as error:
        raise IntegrityError(f"A private key in {where} is not readable: {error}.", hint="Is the file whole?") from None


def _decrypted(path: Path, decrypt: Callable[[], Any]) -> Any:
    import pyrage

    try:
        return decrypt()
    except (pyrage.DecryptError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; age tells of a damage in the middle of a file as an OSError without a number
        reason, _, advice = str(error).strip().partition("\n")
    told = {
        "No matching keys found": ("is not encrypted for this key", "Which key it was encrypted for, its maker knows."),
        "Decryption failed": ("does not open with this passphrase", "Or its first lines were changed."),
        "Excessive work parameter for passphrase.": ("asks for more work than this machine can do", advice),
    }.get(reason, (f"was changed or cut off ({reason.rstrip('.')})", "Get the file again; nothing was decrypted."))
    raise IntegrityError(f"{path} {told[0]}.", hint=told[1])


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            return [line.strip("\r\n") for line in file.read(_MAX_KEY_FILE).splitlines()]
    except UnicodeDecodeError:
        raise IntegrityError(f"{path} holds no text.", hint="Is it the right file?") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> IntegrityError:
    return IntegrityError(f"{path} cannot be read: {error.strerror}.")
