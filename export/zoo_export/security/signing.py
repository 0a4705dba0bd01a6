"""Signs run folders and files with OpenSSF model signing (https://sigstore.dev), and verifies signatures.

A signature covers the hash of every file; it is a Sigstore bundle beside the files. The package's own command line,
``model_signing verify key``, verifies the same signatures. Keys are elliptic-curve keys in PEM files; nothing uses the
network. The package is part of the extra ``finetune-zoo-runtime[sign]``.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError
from zoo.runs.manifest import MANIFEST, SIGNATURE_SUFFIX, check_folder, write_manifest
from zoo.runs.run import is_run
from zoo.utils.files import atomic_write, parse_json, read_regular_file
from zoo.utils.installer import install_command
from zoo.utils.paths import missing_path_advice
from zoo_export.security.encryption import write_private

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER_SIGNATURE = f"model{SIGNATURE_SUFFIX}"
PUBLIC_SUFFIX = ".pub"
_SINGLE_FILE = "."  # the name of the file in the signature of a single file


def signature_path(path: Path) -> Path:
    """Returns the path of a signature: ``model.sig`` in a folder, ``model.onnx.sig`` beside a file."""
    return path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(f"{path.name}{SIGNATURE_SUFFIX}")


def create_key(path: Path) -> Path:
    """Writes a new private key (P-256) that only its owner can read, and the public key beside it, ``NAME.pub``.

    Returns:
        The path of the public key.

    Raises:
        IntegrityError: One of the files already exists, the path is a folder, or the package is not installed.
    """
    _import_package()
    if path.is_dir():
        raise IntegrityError(f"{path} is a folder.", hint="Pass the name of a new file for the private key.")
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key, public = ec.generate_private_key(ec.SECP256R1()), path.with_name(f"{path.name}{PUBLIC_SUFFIX}")
    if public.exists():
        raise IntegrityError(f"{public} already exists.", hint="Keys are never overwritten: pass another name.")
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with atomic_write(public) as temporary:
        temporary.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def sign(path: Path, *, key: Path, passphrase: Callable[[str], str] | None = None) -> Path:
    """Signs a folder or a file, and returns the path of the signature.

    The signature of a folder covers every file including the manifest, except signatures at the top of the folder.

    Args:
        path: A folder or a file, without links.
        key: Private key, PEM, on the curve P-256, P-384 or P-521.
        passphrase: Prompts for the passphrase of an encrypted key; None without a terminal.

    Raises:
        IntegrityError: The key is unusable, a file differs from the manifest, or the folder contains a link.
        RunError: The signature is not writable.
    """
    package = _import_package()
    if is_run(path) and not (path / MANIFEST).exists():
        write_manifest(path)  # older runs have none
    if (path / MANIFEST).is_file() and (findings := check_folder(path)):
        raise IntegrityError(
            f"{path} differs from its {MANIFEST}: {findings[0].file} is {findings[0].state}.",
            hint=f"Run 'zoo verify {path}' for the full list. Only an intact folder is signed.",
        )
    config = _load_key(
        key, lambda word: package.signing.Config().use_elliptic_key_signer(private_key=key, password=word), passphrase
    )
    config.set_hashing_config(_hashing_config(package, path))
    target = signature_path(path)
    with tempfile.TemporaryDirectory() as folder:  # outside the folder to sign, which is being read
        try:
            config.sign(path, Path(folder) / target.name)
        except ValueError as error:  # a link or another special file
            raise IntegrityError(f"{path} cannot be signed: {_first_line(error)}.") from error
        content = (Path(folder) / target.name).read_bytes()
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return target


def check_signature(path: Path, *, key: Path) -> list[tuple[str, str]]:
    """Returns every file that differs from the signature, and how; empty if none does.

    Args:
        path: A folder or a file with a signature beside it.
        key: Public key, PEM.

    Raises:
        IntegrityError: The signature is missing, damaged or by another key, or the key is unusable.
    """
    package, signature = _import_package(), signature_path(path)
    if not signature.is_file():
        raise IntegrityError(f"{path} is not signed: there is no {signature}.", hint="'zoo sign' writes signatures.")
    config = _load_key(key, lambda _: package.verifying.Config().use_elliptic_key_verifier(public_key=key), None)
    config.set_hashing_config(_hashing_config(package, path))
    from cryptography.exceptions import InvalidSignature

    try:
        config.verify(path, signature)
    except InvalidSignature:
        raise IntegrityError(f"{signature} was modified after signing.", hint="Do not use these files.") from None
    except Exception as error:  # for damaged bundles the package raises whatever its parsers raise
        text = str(error)
        if text.startswith("Signature mismatch: "):
            return _differences(package, path, signature)
        if text.startswith("Key mismatch"):
            raise IntegrityError(
                f"{signature} was not made with the key {key}.",
                hint="Either someone else signed, or this is the wrong public key.",
            ) from None
        if isinstance(error, ValueError) and text.startswith("Cannot use "):
            raise IntegrityError(f"{path} cannot be verified: {_first_line(error)}.") from error
        raise IntegrityError(
            f"{signature} is not a valid signature: {_first_line(error)}.", hint="It may be truncated or modified."
        ) from error
    return []


def _import_package() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise IntegrityError(
            f"Signatures need a package that is not installed: {error.name}.",
            hint=f"Install the extra: {install_command('finetune-zoo-runtime[sign]')}.",
        ) from error
    return model_signing


def _hashing_config(package: Any, path: Path) -> Any:
    """Returns the configuration of the files to hash, which must be the same for signing and verifying."""
    ignored = [p.name for p in path.glob(f"*{SIGNATURE_SUFFIX}")] if path.is_dir() else []
    return package.hashing.Config().set_ignored_paths(
        paths=sorted({*ignored, FOLDER_SIGNATURE}), ignore_git_paths=False
    )


def _load_key(key: Path, use: Callable[[bytes | None], Any], passphrase: Callable[[str], str] | None) -> Any:
    """Returns what `use` makes of a key, with the passphrase of the key if it is encrypted."""
    try:
        try:
            return use(None)
        except TypeError:  # the key is encrypted
            if passphrase is None:
                raise
            return use(passphrase(str(key)).encode())
    except OSError as error:
        hint = missing_path_advice(key)
        raise IntegrityError(f"The key {key} cannot be read: {error.strerror}.", hint=hint) from error
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: a key without a curve, such as RSA
        reason = "it is not on an elliptic curve" if isinstance(error, AttributeError) else _first_line(error)
        raise IntegrityError(
            f"The key {key} cannot be used: {reason}.",
            hint="Sign with the private key, verify with the public key: PEM, on the curve P-256, P-384 or P-521.",
        ) from error


def _differences(package: Any, path: Path, signature: Path) -> list[tuple[str, str]]:
    """Compares the files with an authenticated signature, in the format of in-toto statements."""
    payload = parse_json(base64.b64decode(parse_json(read_regular_file(signature))["dsseEnvelope"]["payload"]))
    signed = {each["name"]: each["digest"] for each in payload["predicate"]["resources"]}
    present = {
        each.identifier: each.digest.digest_hex
        for each in _hashing_config(package, path).hash(path).resource_descriptors()
    }
    states = [
        (name, "missing" if name not in present else "additional" if name not in signed else "changed")
        for name in sorted(signed.keys() | present.keys())
        if signed.get(name) != present.get(name)
    ]
    return [(path.name if name == _SINGLE_FILE else name, state) for name, state in states]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(". ") or type(error).__name__
