"""Signs run folders and files with the OpenSSF's model signing (https://sigstore.dev), and checks signatures.

What is signed is the hash of every file, in a Sigstore bundle beside them; the package's own command line,
``model_signing verify key``, checks the same signatures. Keys are elliptic-curve keys in PEM files; nothing is asked of
the network. The package comes with the extra ``finetune-zoo[sign]``.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError
from zoo.runs.manifest import MANIFEST, SIGNATURE_SUFFIX, check_folder, write_manifest
from zoo.runs.run import is_run
from zoo.utils.files import atomic_write
from zoo_export.secrecy import write_private

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER_SIGNATURE = f"model{SIGNATURE_SUFFIX}"
PUBLIC_SUFFIX = ".pub"
_ITSELF = "."  # what a signature calls the file, where it is one file that is signed


def signature_of(path: Path) -> Path:
    """Returns where the signature lies: ``model.sig`` in a folder, ``model.onnx.sig`` beside a file."""
    return path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(f"{path.name}{SIGNATURE_SUFFIX}")


def new_key(path: Path) -> Path:
    """Writes a new private key (P-256), readable by its owner alone, and beside it the public one, ``NAME.pub``.

    Raises:
        IntegrityError: One of the files is there already, or the package is not installed.
    """
    _package()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key, public = ec.generate_private_key(ec.SECP256R1()), path.with_name(f"{path.name}{PUBLIC_SUFFIX}")
    if public.exists():
        raise IntegrityError(f"{public} is there already.", hint="A key is never overwritten: name another.")
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with atomic_write(public) as aside:
        aside.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def sign(path: Path, *, key: Path, passphrase: Callable[[str], str] | None = None) -> Path:
    """Signs a folder or a file, and returns the signature's path.

    In a folder every file is covered, the manifest too; signatures at its top are not.

    Args:
        path: A folder or a file; no links.
        key: Private key, PEM, on the curve P-256, P-384 or P-521.
        passphrase: Asked for that of the key, where it has one and there is somebody to be asked.

    Raises:
        IntegrityError: The key cannot be used, or there is a link in the folder.
        RunError: The signature cannot be written.
    """
    package = _package()
    if is_run(path) and not (path / MANIFEST).exists():
        write_manifest(path)  # of a run made before there were any
    if (path / MANIFEST).is_file() and (findings := check_folder(path)):
        raise IntegrityError(
            f"{path} is not as its {MANIFEST} says: {findings[0].file} is {findings[0].state}.",
            hint=f"'zoo verify {path}' tells all. What is not in order is not signed.",
        )
    config = _with_key(
        key, lambda word: package.signing.Config().use_elliptic_key_signer(private_key=key, password=word), passphrase
    )
    config.set_hashing_config(_hashing(package, path))
    target = signature_of(path)
    with tempfile.TemporaryDirectory() as aside:  # not in the folder, which is being read
        try:
            config.sign(path, Path(aside) / target.name)
        except ValueError as error:  # a link or another special file
            raise IntegrityError(f"{path} cannot be signed: {_first_line(error)}.") from error
        content = (Path(aside) / target.name).read_bytes()
    with atomic_write(target) as aside_target:
        aside_target.write_bytes(content)
    return target


def check_signature(path: Path, *, key: Path) -> list[tuple[str, str]]:
    """Returns each file that is not as it was signed, and what is wrong with it; empty if all are.

    Args:
        path: A folder or a file with a signature beside it.
        key: Public key, PEM.

    Raises:
        IntegrityError: There is no signature, it is broken or by another key, or the key cannot be used.
    """
    package, signature = _package(), signature_of(path)
    if not signature.is_file():
        raise IntegrityError(f"{path} is not signed: there is no {signature}.", hint="'zoo sign' makes signatures.")
    config = _with_key(key, lambda _: package.verifying.Config().use_elliptic_key_verifier(public_key=key), None)
    config.set_hashing_config(_hashing(package, path))
    from cryptography.exceptions import InvalidSignature

    try:
        config.verify(path, signature)
    except InvalidSignature:
        raise IntegrityError(f"{signature} was changed after it was made.", hint="Do not use these files.") from None
    except Exception as error:  # of broken bundles the package raises what its parsers happen to raise
        told = str(error)
        if told.startswith("Signature mismatch: "):
            return _differences(package, path, signature)
        if told.startswith("Key mismatch"):
            raise IntegrityError(
                f"{signature} is not by the key {key}.", hint="Another key signed, or the public key is another's."
            ) from None
        if isinstance(error, ValueError) and told.startswith("Cannot use "):
            raise IntegrityError(f"{path} cannot be checked: {_first_line(error)}.") from error
        raise IntegrityError(
            f"{signature} is no signature that can be read: {_first_line(error)}.", hint="Was it cut off, or changed?"
        ) from error
    return []


def _package() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise IntegrityError(
            f"Signatures need a package that is not installed: {error.name}.",
            hint="Install the extra: pip install 'finetune-zoo[sign]'.",
        ) from error
    return model_signing


def _hashing(package: Any, path: Path) -> Any:
    """Returns the configuration of what is covered; signing and checking must agree on it."""
    ignored = [p.name for p in path.glob(f"*{SIGNATURE_SUFFIX}")] if path.is_dir() else []
    return package.hashing.Config().set_ignored_paths(
        paths=sorted({*ignored, FOLDER_SIGNATURE}), ignore_git_paths=False
    )


def _with_key(key: Path, use: Callable[[bytes | None], Any], passphrase: Callable[[str], str] | None) -> Any:
    try:
        try:
            return use(None)
        except TypeError:  # the key is encrypted
            if passphrase is None:
                raise
            return use(passphrase(str(key)).encode())
    except OSError as error:
        raise IntegrityError(f"The key {key} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: RSA and the like, which have no curve
        reason = "it is not on an elliptic curve" if isinstance(error, AttributeError) else _first_line(error)
        raise IntegrityError(
            f"The key {key} cannot be used: {reason}.",
            hint="Signing takes a private key, checking the public one: PEM, on the curve P-256, P-384 or P-521.",
        ) from error


def _differences(package: Any, path: Path, signature: Path) -> list[tuple[str, str]]:
    """Compares what there is with what a signature, already proven, says; the format is that of in-toto statements."""
    payload = json.loads(base64.b64decode(json.loads(signature.read_bytes())["dsseEnvelope"]["payload"]))
    signed = {each["name"]: each["digest"] for each in payload["predicate"]["resources"]}
    there = {
        each.identifier: each.digest.digest_hex for each in _hashing(package, path).hash(path).resource_descriptors()
    }
    states = [
        (name, "missing" if name not in there else "additional" if name not in signed else "changed")
        for name in sorted(signed.keys() | there.keys())
        if signed.get(name) != there.get(name)
    ]
    return [(path.name if name == _ITSELF else name, state) for name, state in states]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(". ") or type(error).__name__
