"""Files encrypted with age: for keys, with passphrases, and everything that may be wrong with them."""

import base64
import hashlib
import hmac
import os
import shutil
import stat
import subprocess

import pyrage
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zoo.errors import IntegrityError, RunError
from zoo_export.security.encryption import (
    KEY_FILE,
    PASSPHRASE_FILE,
    Secret,
    create_key,
    decrypt_file,
    encrypt_file,
    find_secret,
    needs_passphrase,
    read_decrypted,
    read_key_file,
    read_passphrase,
    read_recipients,
)

CONTENT = bytes(range(256)) * 600  # more than two of age's chunks of 64 KiB


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def key(tmp_path):
    create_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def for_key(plain, key):
    encrypt_file(plain, plain.with_name("for-key.age"), recipients=read_recipients(str(key)))
    return plain.with_name("for-key.age")


def encrypt_with_passphrase(content, passphrase):
    """Encrypts as https://age-encryption.org/v1 specifies, with little work for scrypt: age itself takes seconds."""

    def encode(value):
        return base64.b64encode(value).rstrip(b"=")

    def derive(secret, salt, info):
        return HKDF(SHA256(), 32, salt, info).derive(secret)

    file_key, salt, nonce = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
    wrapping = hashlib.scrypt(passphrase, salt=b"age-encryption.org/v1/scrypt" + salt, n=2**4, r=8, p=1, dklen=32)
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt " + encode(salt) + b" 4\n" + encode(wrapped) + b"\n---"
    mac = hmac.digest(derive(file_key, b"", b"header"), header, "sha256")
    stream = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
    chunks = [content[start : start + 65536] for start in range(0, len(content), 65536)]
    sealed = [
        stream.encrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, None)
        for number, chunk in enumerate(chunks)
    ]
    return header + b" " + encode(mac) + b"\n" + nonce + b"".join(sealed)


@pytest.fixture
def with_passphrase(tmp_path):
    (tmp_path / "plain.age").write_bytes(encrypt_with_passphrase(CONTENT, b"correct horse"))
    return tmp_path / "plain.age"


@pytest.mark.slow
def test_passphrase_round_trip(plain, tmp_path):
    encrypt_file(plain, tmp_path / "x.age", passphrase="correct horse")
    assert needs_passphrase(tmp_path / "x.age")
    assert read_decrypted(tmp_path / "x.age", Secret(passphrase="correct horse")) == CONTENT


def test_key_round_trip(for_key, key, tmp_path):
    assert CONTENT[:64] not in for_key.read_bytes()
    assert read_decrypted(for_key, read_key_file(key)) == CONTENT
    decrypt_file(for_key, tmp_path / "again", read_key_file(key))
    assert (tmp_path / "again").read_bytes() == CONTENT


def test_passphrase_decrypts_a_file_of_the_specification(with_passphrase, tmp_path):
    assert needs_passphrase(with_passphrase)
    (tmp_path / "phrase").write_text("correct horse\r\nwhatever\n")
    decrypt_file(with_passphrase, tmp_path / "again", read_passphrase(tmp_path / "phrase"))
    assert (tmp_path / "again").read_bytes() == CONTENT
    with pytest.raises(IntegrityError, match="does not open with this passphrase"):
        read_decrypted(with_passphrase, Secret(passphrase="battery staple"))


def test_each_of_several_keys_decrypts(plain, key, tmp_path):
    public = create_key(tmp_path / "other")
    encrypt_file(plain, tmp_path / "both.age", recipients=[public, *read_recipients(str(key))])
    for each in (key, tmp_path / "other"):
        assert read_decrypted(tmp_path / "both.age", read_key_file(each)) == CONTENT


def test_wrong_key_is_refused(for_key, tmp_path):
    create_key(tmp_path / "other")
    with pytest.raises(IntegrityError, match="is not encrypted for this key"):
        read_decrypted(for_key, read_key_file(tmp_path / "other"))


def test_modified_byte_anywhere_is_an_error(for_key, key, tmp_path):
    content, secret = for_key.read_bytes(), read_key_file(key)
    for place in (0, 30, 60, 120, 250, 1000, len(content) // 2, len(content) - 1):
        broken = bytearray(content)
        broken[place] ^= 1
        for_key.write_bytes(broken)
        with pytest.raises(IntegrityError, match=r"for-key\.age is (modified|not encrypted)"):
            read_decrypted(for_key, secret)
        with pytest.raises(IntegrityError):
            decrypt_file(for_key, tmp_path / "out", secret)
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".out*"))


def test_truncated_file_is_an_error(for_key, key, tmp_path):
    content, secret = for_key.read_bytes(), read_key_file(key)
    for length in (0, 10, 22, 100, 300, len(content) // 2, len(content) - 1):
        for_key.write_bytes(content[:length])
        with pytest.raises(IntegrityError, match=r"truncated|is not encrypted with age"):
            read_decrypted(for_key, secret)


def test_wrong_kind_of_secret_is_refused(for_key, with_passphrase, key, plain):
    with pytest.raises(IntegrityError, match="with a passphrase, not for a key"):
        read_decrypted(with_passphrase, read_key_file(key))
    with pytest.raises(IntegrityError, match="for a key, not with a passphrase"):
        read_decrypted(for_key, Secret(passphrase="x"))
    with pytest.raises(IntegrityError, match="is not encrypted with age"):
        read_decrypted(plain, read_key_file(key))
    for wrong in ({}, {"passphrase": "x", "recipients": read_recipients(str(key))}):
        with pytest.raises(IntegrityError, match="either with a passphrase or for keys"):
            encrypt_file(plain, plain.with_name("x.age"), **wrong)


def test_excessive_work_factor_is_refused(with_passphrase, tmp_path):
    header, rest = with_passphrase.read_bytes().split(b"\n", 2)[1], with_passphrase.read_bytes().split(b"\n", 2)[2]
    hostile = b"\n".join([b"age-encryption.org/v1", header.rsplit(b" ", 1)[0] + b" 60", rest])
    (tmp_path / "hostile.age").write_bytes(hostile)
    with pytest.raises(IntegrityError, match="demands more work than this machine can do"):
        read_decrypted(tmp_path / "hostile.age", Secret(passphrase="correct horse"))


def test_only_the_owner_reads_a_key_and_nothing_overwrites_it(key, tmp_path):
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(IntegrityError, match="already exists"):
        create_key(key)
    assert key.read_bytes() == before
    with pytest.raises(IntegrityError, match=r"Cannot write .*nowhere"):
        create_key(tmp_path / "nowhere" / "key")


def test_repr_hides_the_secret(key):
    assert "AGE-SECRET-KEY" not in repr(read_key_file(key))
    assert "horse" not in f"{Secret(passphrase='correct horse')}"


def test_recipients_are_read_from_options_and_files(key, tmp_path):
    (public,) = read_recipients(str(key))
    assert read_recipients(public) == [public]
    (tmp_path / "team.txt").write_text(f"# the team\n{public}\n\n{public}\n")
    assert read_recipients(str(tmp_path / "team.txt")) == [public, public]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "contains no private key"), (b"age1xyz\n", "contains no private key"), (b"\xff\xfe", "is not a text file")],
)
def test_file_without_a_key_is_an_error(tmp_path, content, message):
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(IntegrityError, match=message):
        read_key_file(tmp_path / "k")


def test_invalid_keys_are_errors(tmp_path, plain, for_key):
    (tmp_path / "k").write_text("AGE-SECRET-KEY-1NONSENSE\n")
    with pytest.raises(IntegrityError, match=r"private key in .* is invalid"):
        read_recipients(str(tmp_path / "k"))
    with pytest.raises(IntegrityError, match=r"private key in .* is invalid"):
        read_decrypted(for_key, read_key_file(tmp_path / "k"))
    with pytest.raises(IntegrityError, match="public key is invalid"):
        encrypt_file(plain, tmp_path / "x", recipients=["age1nonsense"])
    with pytest.raises(IntegrityError, match="nowhere cannot be read: No such file"):
        read_recipients(str(tmp_path / "nowhere"))
    (tmp_path / "empty").write_text("\nsecond line\n")
    with pytest.raises(IntegrityError, match=r"The first line of .*empty is empty"):
        read_passphrase(tmp_path / "empty")


def test_find_secret_returns_what_the_file_needs(for_key, with_passphrase, key, tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_FILE, raising=False)
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    with pytest.raises(IntegrityError, match="needs a private key") as caught:
        find_secret(for_key, ask=lambda name: "x")
    assert KEY_FILE in caught.value.hint
    with pytest.raises(IntegrityError, match="needs a passphrase"):
        find_secret(with_passphrase)
    assert find_secret(with_passphrase, ask=lambda name: f"of {name}") == Secret(passphrase="of plain.age")
    (tmp_path / "phrase").write_text("correct horse")
    monkeypatch.setenv(KEY_FILE, str(key))
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "phrase"))
    assert find_secret(for_key) == read_key_file(key)
    assert find_secret(with_passphrase).passphrase == "correct horse"


def test_missing_file_and_full_disk_are_errors(plain, key, tmp_path, monkeypatch):
    recipients = read_recipients(str(key))
    with pytest.raises(IntegrityError, match="nowhere cannot be read: No such file"):
        encrypt_file(tmp_path / "nowhere", tmp_path / "x", recipients=recipients)
    with pytest.raises(RunError, match="Cannot write"):
        encrypt_file(plain, tmp_path / "no" / "x.age", recipients=recipients)

    def fail(source, sink, recipients):
        raise pyrage.EncryptError("OSError: [Errno 28] No space left on device")

    monkeypatch.setattr(pyrage, "encrypt_io", fail)
    with pytest.raises(RunError, match="No space left on device"):
        encrypt_file(plain, tmp_path / "x.age", recipients=recipients)
    assert not (tmp_path / "x.age").exists()


@pytest.mark.skipif(shutil.which("age") is None, reason="the tool age is not installed")
def test_age_decrypts_our_files(for_key, key):
    done = subprocess.run(["age", "--decrypt", "-i", key, for_key], capture_output=True, check=True)
    assert done.stdout == CONTENT


def test_output_is_never_the_input(plain, for_key, key):
    encrypted = for_key.read_bytes()
    with pytest.raises(IntegrityError, match="is the input file itself"):
        encrypt_file(plain, plain.parent / "." / plain.name, recipients=read_recipients(str(key)))
    with pytest.raises(IntegrityError, match="is the input file itself"):
        decrypt_file(for_key, for_key, read_key_file(key))
    assert (plain.read_bytes(), for_key.read_bytes()) == (CONTENT, encrypted)
