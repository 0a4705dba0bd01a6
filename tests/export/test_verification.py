import dataclasses
import hashlib
import json
import shutil
import zipfile
from types import SimpleNamespace

import onnx
import pytest
from click.testing import CliRunner
from onnx_files import card, model

from zoo.cli.main import cli
from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manifest import update_manifest, write_manifest
from zoo.runs.open import open_run
from zoo.runs.run import write_record
from zoo.runs.tags import tag_run
from zoo_export.card import KEY
from zoo_export.commands.passphrases import new_passphrase
from zoo_export.files import find_file, read_card, take_in
from zoo_export.secrecy import SUFFIX
from zoo_export.verification import Check, verify

WEIGHTS = b"these are weights"
CREATED = "2026-01-01T00:00:00+00:00"


def a_card(**values):
    made_of = {"name": "r-1", "created": CREATED}
    return card(**{"run": made_of, "weights_sha256": hashlib.sha256(WEIGHTS).hexdigest(), **values})


def write_onnx(path, of):
    made = model(of or a_card())
    if of is None:
        del made.metadata_props[:]
    onnx.save_model(made, path)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder runs/ with the finished, exported run r-1; the working folder is the one it lies in."""
    folder = tmp_path / "runs" / "r-1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    write_record(folder, {"status": "finished", "created": CREATED})
    write_manifest(folder)
    write_onnx(folder / "model.onnx", a_card())
    take_in(folder / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def failed(checks):
    return {check.about: check.files for check in checks if not check.ok}


def test_an_exported_run_is_what_it_was(runs):
    checks = verify("r-1", runs=runs)
    assert [(check.about, check.ok) for check in checks] == [("manifest", True), ("weights", True)]
    assert checks[0].text == "all 3 files are as they were"
    assert [check.about for check in verify(runs / "r-1" / "model.onnx", runs=runs)] == ["manifest", "weights"]
    assert not failed(verify(runs / "r-1" / "model.onnx", runs=runs))


@pytest.mark.parametrize("name", ["run.json", "model.safetensors", "model.onnx"])
def test_one_changed_byte_is_named(runs, name):
    flip(runs / "r-1" / name)
    if name == "run.json":
        (runs / "r-1" / name).write_text((runs / "r-1" / name).read_text()[:-1] + " ")
    assert failed(verify("r-1", runs=runs))["manifest"] == ((name, "changed"),)


def test_a_changed_file_is_named_alone_too(runs):
    file = runs / "r-1" / "model.onnx"
    write_onnx(file, a_card(classes=("green", "red", "blue")))
    assert failed(verify(file, runs=runs)) == {"manifest": (("model.onnx", "changed"),)}


def test_a_file_that_was_made_of_other_weights_is_told(runs):
    file = runs / "r-1" / "model.onnx"
    write_onnx(file, a_card(weights_sha256="0" * 64))
    update_manifest(file.parent, ["model.onnx"])
    (check,) = [check for check in verify("r-1", runs=runs) if not check.ok]
    assert check.about == "weights"
    assert check.text.startswith("model.onnx was not made of")


def test_a_file_that_was_carried_elsewhere_is_compared_with_the_run_that_it_names(runs, tmp_path):
    file = tmp_path / "elsewhere.onnx"
    shutil.copy(runs / "r-1" / "model.onnx", file)
    assert [(check.about, check.ok) for check in verify(file, runs=runs)] == [("weights", True)]
    flip(runs / "r-1" / "model.safetensors")
    assert list(failed(verify(file, runs=runs))) == ["weights"]


@pytest.mark.parametrize("run", [{"name": "r-9"}, {"name": "../runs/r-1"}, {"name": "r-1", "created": "later"}, {}])
def test_a_file_with_nothing_to_compare_it_with_is_an_error(runs, tmp_path, run):
    write_onnx(tmp_path / "alone.onnx", a_card(run=run))
    with pytest.raises(IntegrityError, match="nothing to compare"):
        verify(tmp_path / "alone.onnx", runs=runs)


def test_a_tag_knows_the_weights_it_was_given_to(runs):
    tag_run(open_run("r-1", runs=runs), "hotdog@3", runs=runs)
    assert [(c.about, c.ok) for c in verify("hotdog@3", runs=runs)][-1] == ("tag", True)
    (runs / "r-1" / "model.safetensors").write_bytes(b"other weights")
    write_manifest(runs / "r-1")  # a manifest can be written anew; the tag remembers
    assert set(failed(verify("hotdog@3", runs=runs))) == {"tag", "weights"}


def test_a_run_without_a_manifest_is_an_error(runs):
    (runs / "r-1" / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"has no manifest\.json"):
        verify("r-1", runs=runs)


def test_files_of_others_are_told(runs, tmp_path):
    write_onnx(tmp_path / "foreign.onnx", None)
    with pytest.raises(ExportError, match="does not tell what it is"):
        verify(tmp_path / "foreign.onnx", runs=runs)
    for content in (b"", b"junk" * 100, b"\x0a\xff\xff"):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(ExportError, match=r"broken\.onnx"):
            read_card(tmp_path / "broken.onnx")
    with pytest.raises(ExportError, match="No such file"):
        read_card(tmp_path / "nowhere.onnx")


def test_the_file_of_a_run_is_found_and_taken_into_its_manifest(runs, tmp_path):
    assert find_file("r-1", runs=runs) == runs / "r-1" / "model.onnx"
    assert find_file(runs / "r-1" / "run.json") == runs / "r-1" / "run.json"
    with pytest.raises(ExportError, match=r"There is no file nowhere\.onnx"):
        find_file("nowhere.onnx")
    with pytest.raises(RunError, match="There is no run 'nowhere'"):
        find_file("nowhere")
    (runs / "r-1" / "model.onnx").unlink()
    with pytest.raises(ExportError, match=r"has no model\.onnx") as caught:
        find_file("r-1", runs=runs)
    assert "zoo export" in caught.value.hint
    with pytest.raises(ExportError, match=r"has no model\.onnx"):
        find_file(tmp_path)
    (tmp_path / "file").touch()
    take_in(tmp_path / "file")
    assert not (tmp_path / "manifest.json").exists()


def test_a_check_is_plain_values():
    check = Check(about="manifest", ok=False, text="1 file", files=(("a", "changed"),))
    assert json.loads(json.dumps(check.to_dict()))["files"] == [{"file": "a", "state": "changed"}]


def zoo(*args, code=0, **more):
    result = CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=True, **more)
    told = result.exception if isinstance(result.exception, Exception) else None
    assert result.exit_code == code, (result.output, result.exception)
    return str(told) if told and not isinstance(told, SystemExit) else result.output


def test_the_commands_from_signing_to_the_changed_byte(runs):
    pytest.importorskip("model_signing", reason="needs the extra finetune-zoo[sign]")
    assert "mine.pub" in zoo("sign", "--new-key", "mine")
    assert zoo("sign", "r-1", "--key", "mine").strip().endswith("model.sig")
    out = zoo("verify", "r-1", "--key", "mine.pub")
    assert "ok      signature: model.sig is by mine.pub, and nothing has changed since" in out
    flip(runs / "r-1" / "model.safetensors")
    out = zoo("verify", "r-1", "--key", "mine.pub", code=1)
    assert out.splitlines()[:2] == ["failed  manifest: 1 file is not as it was", "        changed: model.safetensors"]
    assert "failed  signature: 1 file is not as it was\n        changed: model.safetensors" in out
    checks = json.loads(zoo("verify", "r-1", "--json", code=1))
    assert [(check["about"], check["ok"]) for check in checks] == [("manifest", False), ("weights", False)]
    assert "is not as its manifest.json says" in zoo("sign", "r-1", "--key", "mine", code=1)


def test_a_tag_is_inspected(runs):
    zoo("runs", "tag", "r-1", "hotdog@prod")
    assert json.loads(zoo("inspect", "hotdog@prod", "--json"))["card"]["run"]["name"] == "r-1"


def test_the_commands_for_keys_and_back(runs, monkeypatch):
    file = runs / "r-1" / "model.onnx"
    assert "public key: age1" in zoo("encrypt", "--new-key", "key")
    zoo("encrypt", "r-1", "--key", "key")
    assert file.with_name(f"{file.name}{SUFFIX}").is_file()
    assert not failed(verify("r-1", runs=runs))
    assert "wants a private key" in zoo("decrypt", f"{file}.age", "-o", "plain.onnx", code=1)
    assert "is there already" in zoo("decrypt", f"{file}.age", "--key", "key", code=1)
    zoo("decrypt", f"{file}.age", "--key", "key", "-o", "plain.onnx")
    monkeypatch.setenv("ZOO_KEY_FILE", "key")
    zoo("decrypt", f"{file}.age", "-o", "again.onnx")
    for name in ("plain.onnx", "again.onnx"):
        assert (runs.parent / name).read_bytes() == file.read_bytes()


def test_the_commands_with_a_passphrase(runs, monkeypatch):
    """With a stand-in for age, whose scrypt takes seconds."""
    header = b"age-encryption.org/v1\n-> scrypt salt 18\n"
    monkeypatch.setattr("pyrage.passphrase.encrypt", lambda plain, phrase: header + phrase.encode() + plain)
    monkeypatch.setattr(
        "pyrage.passphrase.decrypt", lambda content, phrase: content.removeprefix(header + phrase.encode())
    )
    phrase = runs.parent / "phrase"
    phrase.write_text("correct horse\n")
    assert "nobody to ask" in zoo("encrypt", "r-1", "-o", "x.age", code=1)
    zoo("encrypt", "r-1", "-o", "x.age", "--passphrase-file", phrase)
    zoo("decrypt", "x.age", "-o", "y", "--passphrase-file", phrase)
    monkeypatch.setenv("ZOO_PASSPHRASE_FILE", str(phrase))
    zoo("decrypt", "x.age")
    for name in ("x", "y"):
        assert (runs.parent / name).read_bytes() == (runs / "r-1" / "model.onnx").read_bytes()


def test_a_new_passphrase_is_asked_for_twice(monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.prompt", lambda text, **how: asked.append(how["confirmation_prompt"]) or "typed")
    assert new_passphrase(None, "model.onnx.age") == "typed"
    assert asked == [True]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("encrypt",), "What is to be encrypted?"),
        (("encrypt", "r-1", "--key", "age1x", "--passphrase-file", "x"), "not both"),
        (("decrypt", "model.onnx"), "name the plain file with -o"),
        (("decrypt", "x.age", "--key", "k", "--passphrase-file", "x"), "not both"),
        (("sign", "r-1"), "Sign with which key?"),
        (("sign", "--key", "k"), "What is to be signed?"),
        (("sign", "r-1", "--key", "k", "--new-key", "l"), "Sign with which key?"),
    ],
)
def test_wrong_usage_is_told(runs, args, told):
    assert told in zoo(*args, code=2)


def write_archive(path, of):
    """Writes what `inspect` looks at in an archive of torch.export."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"model/extra/{KEY}", of.to_json())


def test_an_archive_is_held_against_the_weights_it_was_made_of(runs, tmp_path):
    of = a_card(input="tensor", opset=0)
    for file in (runs / "r-1" / "model.pt2", tmp_path / "elsewhere.pt2"):
        write_archive(file, of)
    take_in(runs / "r-1" / "model.pt2")
    told = [check.text for check in verify("r-1", runs=runs)]
    assert f"model.pt2 was made of {runs / 'r-1' / 'model.safetensors'}" in told
    assert [(check.about, check.ok) for check in verify(tmp_path / "elsewhere.pt2", runs=runs)] == [("weights", True)]
    write_archive(tmp_path / "elsewhere.pt2", dataclasses.replace(of, weights_sha256="0" * 64))
    (check,) = verify(tmp_path / "elsewhere.pt2", runs=runs)
    assert not check.ok


def test_the_manifest_of_another_program_is_left_alone(runs, tmp_path):
    """A web page has a file of that name too."""
    foreign, file = tmp_path / "web" / "manifest.json", tmp_path / "web" / "model.onnx"
    foreign.parent.mkdir()
    foreign.write_text('{"name": "A page"}')
    write_onnx(file, a_card())
    take_in(file)
    assert foreign.read_text() == '{"name": "A page"}'
    assert [(check.about, check.ok) for check in verify(file, runs=runs)] == [("weights", True)]
    (runs / "r-1" / "manifest.json").write_text('{"name": "A page"}')
    for check in (lambda: take_in(runs / "r-1" / "model.onnx"), lambda: verify(runs / "r-1" / "model.onnx", runs=runs)):
        with pytest.raises(RunError, match="is no manifest of format 1"):
            check()
