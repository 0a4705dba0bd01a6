import os
import shutil
import stat
import subprocess
import sys

import pytest

from zoo.errors import IntegrityError
from zoo.runs.manifest import write_manifest
from zoo.runs.run import write_record
from zoo_export.signing import check_signature, new_key, sign, signature_of

pytest.importorskip("model_signing", reason="needs the extra finetune-zoo[sign]")

FILES = {"model.safetensors": b"weights", "model.onnx": b"onnx", "deeper/labels.txt": b"cat", "it's, odd": b"x"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        assert new_key(folder / name) == folder / f"{name}.pub"
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "r-1"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_record(folder, {"status": "finished"})
    write_manifest(folder)
    return folder


@pytest.fixture
def signed(run, keys):
    assert sign(run, key=keys / "mine") == run / "model.sig"
    return run


def test_what_was_signed_has_no_findings(signed, keys):
    assert check_signature(signed, key=keys / "mine.pub") == []
    assert sorted(path.name for path in signed.glob("*.sig*")) == ["model.sig"]
    assert str(signed) not in (signed / "model.sig").read_text()


@pytest.mark.parametrize("name", [*FILES, "run.json", "manifest.json"])
def test_one_changed_byte_in_any_file_is_named(signed, keys, name):
    content = bytearray((signed / name).read_bytes())
    content[0] ^= 1
    (signed / name).write_bytes(content)
    assert check_signature(signed, key=keys / "mine.pub") == [(name, "changed")]


def test_missing_and_additional_files_are_named(signed, keys):
    (signed / "model.onnx").unlink()
    (signed / ".gitignore").touch()
    (signed / "deeper" / "x.sig").touch()
    assert check_signature(signed, key=keys / "mine.pub") == [
        (".gitignore", "additional"),
        ("deeper/x.sig", "additional"),
        ("model.onnx", "missing"),
    ]


def test_a_file_can_be_signed_alone_and_beside_its_folder(signed, keys):
    file = signed / "model.onnx"
    assert sign(file, key=keys / "other") == signature_of(file) == signed / "model.onnx.sig"
    assert check_signature(file, key=keys / "other.pub") == []
    assert check_signature(signed, key=keys / "mine.pub") == []
    file.write_bytes(b"onnX")
    assert check_signature(file, key=keys / "other.pub") == [("model.onnx", "changed")]


def test_another_key_is_told(signed, keys):
    with pytest.raises(IntegrityError, match=r"model\.sig is not by the key .*other\.pub"):
        check_signature(signed, key=keys / "other.pub")


def test_a_missing_signature_is_told(run, keys):
    with pytest.raises(IntegrityError, match="is not signed: there is no"):
        check_signature(run, key=keys / "mine.pub")


def test_a_changed_signature_is_told(signed, keys):
    signature = signed / "model.sig"
    whole = signature.read_text()
    start = whole.index('"payload":"') + 300
    tampered = whole[:start] + ("A" if whole[start] != "A" else "B") + whole[start + 1 :]
    for content in ("", "{}", "[]", "null", whole[:-40], tampered, whole.replace("dsse", "ssed"), "[" * 100_000):
        signature.write_text(content)
        with pytest.raises(IntegrityError, match=r"model\.sig (was changed|is no signature)"):
            check_signature(signed, key=keys / "mine.pub")
    signature.write_bytes(b"\xff\x00")
    with pytest.raises(IntegrityError, match="is no signature that can be read"):
        check_signature(signed, key=keys / "mine.pub")


def test_what_is_not_in_order_is_not_signed(run, keys):
    (run / "model.onnx").write_bytes(b"onnX")
    with pytest.raises(IntegrityError, match=r"not as its manifest\.json says: model\.onnx is changed"):
        sign(run, key=keys / "mine")
    for name in ("manifest.json", "run.json"):  # a folder that is no run
        (run / name).unlink()
    (run / "link").symlink_to("model.onnx")
    with pytest.raises(IntegrityError, match=r"cannot be signed: .*symlink"):
        sign(run, key=keys / "mine")
    assert not (run / "model.sig").exists()


def test_a_link_among_signed_files_is_refused(signed, keys):
    (signed / "link").symlink_to("model.onnx")
    with pytest.raises(IntegrityError, match=r"cannot be checked: .*symlink"):
        check_signature(signed, key=keys / "mine.pub")


@pytest.mark.parametrize("wrong", ["mine.pub", "rsa", "nothing", "nowhere"])
def test_what_is_no_private_key_is_told(run, keys, wrong, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = keys / wrong if wrong == "mine.pub" else tmp_path / wrong
    if wrong == "rsa":
        made = rsa.generate_private_key(65537, 1024)
        key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if wrong == "nothing":
        key.write_text("nothing")
    with pytest.raises(IntegrityError, match=rf"The key .*{wrong} cannot be (used|read)"):
        sign(run, key=key)


def test_a_private_key_does_not_check(signed, keys):
    with pytest.raises(IntegrityError, match="cannot be used") as caught:
        check_signature(signed, key=keys / "mine")
    assert "checking the public one" in caught.value.hint


def test_a_key_with_a_passphrase_asks_for_it(run, keys, tmp_path):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((keys / "mine").read_bytes(), None)
    locked = tmp_path / "locked"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    sign(run, key=locked, passphrase=lambda what: "secret" if what.endswith("locked") else "")
    assert check_signature(run, key=keys / "mine.pub") == []
    with pytest.raises(IntegrityError, match="cannot be used"):
        sign(run, key=locked, passphrase=lambda what: "wrong")
    with pytest.raises(IntegrityError, match="private key is encrypted"):
        sign(run, key=locked)


def test_keys_are_for_their_owner_alone_and_never_overwritten(keys, tmp_path):
    if os.name == "posix":
        assert stat.S_IMODE((keys / "mine").stat().st_mode) == 0o600
    for existing in ("mine", "half.pub"):
        (tmp_path / existing).write_text("kept")
        with pytest.raises(IntegrityError, match="is there already"):
            new_key(tmp_path / existing.removesuffix(".pub"))
        assert (tmp_path / existing).read_text() == "kept"
    assert not (tmp_path / "half").exists()


def test_without_the_package_the_extra_is_named(run, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for attempt in (
        lambda: sign(run, key=keys / "mine"),
        lambda: check_signature(run, key=keys / "mine.pub"),
        lambda: new_key(run / "new"),
    ):
        with pytest.raises(IntegrityError, match="a package that is not installed") as caught:
            attempt()
        assert "finetune-zoo[sign]" in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_package_s_own_command_line_and_keys_of_openssl_do_too(run, tmp_path):
    key, public = tmp_path / "key", tmp_path / "key.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    signature = sign(run, key=key)
    command = [sys.executable, "-m", "model_signing", "verify", "key", run, "--signature", signature]
    done = subprocess.run([*command, "--public_key", public], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run / "model.onnx").write_bytes(b"onnX")
    assert subprocess.run([*command, "--public_key", public], capture_output=True).returncode != 0
