"""``zoo encrypt`` and ``zoo decrypt``, as a user types them."""

from types import SimpleNamespace

import pytest

from zoo_export.commands.encryption import read_new_passphrase
from zoo_export.security.encryption import SUFFIX
from zoo_export.verification import verify


def test_round_trip_with_a_key(runs, zoo_command, monkeypatch):
    file = runs / "r-1" / "model.onnx"
    assert "public key: age1" in zoo_command("encrypt", "--new-key", "key")
    zoo_command("encrypt", "r-1", "--key", "key")
    assert file.with_name(f"{file.name}{SUFFIX}").is_file()
    assert all(result.ok for result in verify("r-1", runs=runs))
    assert "needs a private key" in zoo_command("decrypt", f"{file}.age", "-o", "plain.onnx", code=1)
    assert "already exists" in zoo_command("decrypt", f"{file}.age", "--key", "key", code=1)
    zoo_command("decrypt", f"{file}.age", "--key", "key", "-o", "plain.onnx")
    monkeypatch.setenv("ZOO_KEY_FILE", "key")
    zoo_command("decrypt", f"{file}.age", "-o", "again.onnx")
    for name in ("plain.onnx", "again.onnx"):
        assert (runs.parent / name).read_bytes() == file.read_bytes()


def test_quiet_prints_only_the_file(runs, zoo_command):
    out = zoo_command("encrypt", "r-1", "--new-key", "key", "-o", "x.age", "--quiet")
    assert out == "x.age\n"


def test_round_trip_with_a_passphrase(runs, zoo_command, monkeypatch):
    """With a substitute for age, whose scrypt takes seconds."""
    header = b"age-encryption.org/v1\n-> scrypt salt 18\n"
    monkeypatch.setattr("pyrage.passphrase.encrypt", lambda plain, phrase: header + phrase.encode() + plain)
    monkeypatch.setattr(
        "pyrage.passphrase.decrypt", lambda content, phrase: content.removeprefix(header + phrase.encode())
    )
    phrase = runs.parent / "phrase"
    phrase.write_text("correct horse\n")
    assert "no terminal to ask on" in zoo_command("encrypt", "r-1", "-o", "x.age", code=1)
    zoo_command("encrypt", "r-1", "-o", "x.age", "--passphrase-file", phrase)
    zoo_command("decrypt", "x.age", "-o", "y", "--passphrase-file", phrase)
    monkeypatch.setenv("ZOO_PASSPHRASE_FILE", str(phrase))
    zoo_command("decrypt", "x.age")
    for name in ("x", "y"):
        assert (runs.parent / name).read_bytes() == (runs / "r-1" / "model.onnx").read_bytes()


def test_new_passphrase_is_asked_for_twice(monkeypatch):
    confirmations = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(
        "click.prompt", lambda text, **options: confirmations.append(options["confirmation_prompt"]) or "typed"
    )
    assert read_new_passphrase(None, "model.onnx.age") == "typed"
    assert confirmations == [True]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("encrypt",), "Pass a run or a file to encrypt"),
        (("encrypt", "r-1", "--key", "age1x", "--passphrase-file", "x"), "not both"),
        (("decrypt", "model.onnx"), "name the plain file with -o"),
        (("decrypt", "x.age", "--key", "k", "--passphrase-file", "x"), "not both"),
    ],
)
def test_wrong_usage_is_explained(runs, zoo_command, args, message):
    assert message in zoo_command(*args, code=2)
