"""Signatures of run folders and files."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
from run_files import write_json_record

from zoo.errors import IntegrityError
from zoo.runs.manifest import write_manifest
from zoo_export.security.signing import check_signature, create_key, sign, signature_path

pytest.importorskip("model_signing", reason="needs the extra finetune-zoo[sign]")

FILES = {"model.safetensors": b"weights", "model.onnx": b"onnx", "deeper/labels.txt": b"cat", "it's, odd": b"x"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        assert create_key(folder / name) == folder / f"{name}.pub"
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "r-1"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_json_record(folder, {"status": "finished"})
    write_manifest(folder)
    return folder


@pytest.fixture
def signed(run, keys):
    assert sign(run, key=keys / "mine") == run / "model.sig"
    return run


def test_unchanged_folder_matches_its_signature(signed, keys):
    assert check_signature(signed, key=keys / "mine.pub") == []
    assert sorted(path.name for path in signed.glob("*.sig*")) == ["model.sig"]
    assert str(signed) not in (signed / "model.sig").read_text()


@pytest.mark.parametrize("name", [*FILES, "run.json", "manifest.json"])
def test_modified_byte_in_any_file_is_reported(signed, keys, name):
    content = bytearray((signed / name).read_bytes())
    content[0] ^= 1
    (signed / name).write_bytes(content)
    assert check_signature(signed, key=keys / "mine.pub") == [(name, "changed")]


def test_missing_and_additional_files_are_reported(signed, keys):
    (signed / "model.onnx").unlink()
    (signed / ".gitignore").touch()
    (signed / "deeper" / "x.sig").touch()
    assert check_signature(signed, key=keys / "mine.pub") == [
        (".gitignore", "additional"),
        ("deeper/x.sig", "additional"),
        ("model.onnx", "missing"),
    ]


def test_file_can_be_signed_besides_its_folder(signed, keys):
    file = signed / "model.onnx"
    assert sign(file, key=keys / "other") == signature_path(file) == signed / "model.onnx.sig"
    assert check_signature(file, key=keys / "other.pub") == []
    assert check_signature(signed, key=keys / "mine.pub") == []
    file.write_bytes(b"onnX")
    assert check_signature(file, key=keys / "other.pub") == [("model.onnx", "changed")]


def test_wrong_key_is_an_error(signed, keys):
    with pytest.raises(IntegrityError, match=r"model\.sig was not made with the key .*other\.pub"):
        check_signature(signed, key=keys / "other.pub")


def test_missing_signature_is_an_error(run, keys):
    with pytest.raises(IntegrityError, match="is not signed: there is no"):
        check_signature(run, key=keys / "mine.pub")


def test_modified_signature_is_an_error(signed, keys):
    signature = signed / "model.sig"
    intact = signature.read_text()
    start = intact.index('"payload":"') + 300
    tampered = intact[:start] + ("A" if intact[start] != "A" else "B") + intact[start + 1 :]
    for content in ("", "{}", "[]", "null", intact[:-40], tampered, intact.replace("dsse", "ssed"), "[" * 100_000):
        signature.write_text(content)
        with pytest.raises(IntegrityError, match=r"model\.sig (was modified|is not a valid signature)"):
            check_signature(signed, key=keys / "mine.pub")
    signature.write_bytes(b"\xff\x00")
    with pytest.raises(IntegrityError, match="is not a valid signature"):
        check_signature(signed, key=keys / "mine.pub")


def test_modified_folder_is_not_signed(run, keys):
    (run / "model.onnx").write_bytes(b"onnX")
    with pytest.raises(IntegrityError, match=r"differs from its manifest\.json: model\.onnx is changed"):
        sign(run, key=keys / "mine")
    for name in ("manifest.json", "run.json"):  # a folder that is no run
        (run / name).unlink()
    (run / "link").symlink_to("model.onnx")
    with pytest.raises(IntegrityError, match=r"cannot be signed: .*symlink"):
        sign(run, key=keys / "mine")
    assert not (run / "model.sig").exists()


def test_link_among_signed_files_is_refused(signed, keys):
    (signed / "link").symlink_to("model.onnx")
    with pytest.raises(IntegrityError, match=r"cannot be verified: .*symlink"):
        check_signature(signed, key=keys / "mine.pub")


@pytest.mark.parametrize("wrong", ["mine.pub", "rsa", "nothing", "nowhere"])
def test_unusable_key_is_an_error(run, keys, wrong, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = keys / wrong if wrong == "mine.pub" else tmp_path / wrong
    if wrong == "rsa":
        private = rsa.generate_private_key(65537, 1024)
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if wrong == "nothing":
        key.write_text("nothing")
    with pytest.raises(IntegrityError, match=rf"The key .*{wrong} cannot be (used|read)"):
        sign(run, key=key)


def test_private_key_does_not_verify(signed, keys):
    with pytest.raises(IntegrityError, match="cannot be used") as caught:
        check_signature(signed, key=keys / "mine")
    assert "verify with the public key" in caught.value.hint


def test_encrypted_key_asks_for_its_passphrase(run, keys, tmp_path):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((keys / "mine").read_bytes(), None)
    locked = tmp_path / "locked"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    sign(run, key=locked, passphrase=lambda name: "secret" if name.endswith("locked") else "")
    assert check_signature(run, key=keys / "mine.pub") == []
    with pytest.raises(IntegrityError, match="cannot be used"):
        sign(run, key=locked, passphrase=lambda name: "wrong")
    with pytest.raises(IntegrityError, match="private key is encrypted"):
        sign(run, key=locked)


def test_only_the_owner_reads_a_key_and_nothing_overwrites_it(keys, tmp_path):
    if os.name == "posix":
        assert stat.S_IMODE((keys / "mine").stat().st_mode) == 0o600
    for existing in ("mine", "half.pub"):
        (tmp_path / existing).write_text("unchanged")
        with pytest.raises(IntegrityError, match="already exists"):
            create_key(tmp_path / existing.removesuffix(".pub"))
        assert (tmp_path / existing).read_text() == "unchanged"
    assert not (tmp_path / "half").exists()


def test_missing_package_is_an_error_that_names_the_extra(run, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for attempt in (
        lambda: sign(run, key=keys / "mine"),
        lambda: check_signature(run, key=keys / "mine.pub"),
        lambda: create_key(run / "new"),
    ):
        with pytest.raises(IntegrityError, match="a package that is not installed") as caught:
            attempt()
        assert "finetune-zoo-runtime[sign]" in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_package_command_verifies_and_openssl_keys_work(run, tmp_path):
    key, public = tmp_path / "key", tmp_path / "key.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    signature = sign(run, key=key)
    command = [sys.executable, "-m", "model_signing", "verify", "key", run, "--signature", signature]
    done = subprocess.run([*command, "--public_key", public], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run / "model.onnx").write_bytes(b"onnX")
    assert subprocess.run([*command, "--public_key", public], capture_output=True).returncode != 0
