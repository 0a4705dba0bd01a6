"""Inspection of exported files, of other files and of damaged ones."""

import io
import subprocess
import sys
import zipfile
from dataclasses import replace

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import ExportError, IntegrityError
from zoo_export.inspection import TensorInfo, inspect_file, read_card
from zoo_export.model_card import KEY
from zoo_export.security.digest import with_digest
from zoo_export.security.encryption import encrypt_file


def write_foreign(path, **properties):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, None])],
    )
    model = helper.make_model(graph, producer_name="elsewhere", opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, properties)
    onnx.save(model, path)
    return path


def test_exported_file(exported):
    inspection = inspect_file(exported.path)
    assert inspection.inputs == (TensorInfo("image", "uint8", ("batch", "height", "width", 3)),)
    assert [value.name for value in inspection.outputs] == ["probabilities", "logits", "heatmap", "familiarity"]
    assert inspection.outputs[0].shape == ("batch", 3)
    assert inspection.opset == 18
    assert inspection.producer.startswith("finetune-zoo ")
    assert inspection.bytes == exported.path.stat().st_size == exported.bytes
    assert inspection.to_dict()["card"]["classes"] == exported.card.classes


def test_file_of_another_tool(tmp_path):
    inspection = inspect_file(write_foreign(tmp_path / "m.onnx"))
    assert inspection.card is None
    assert inspection.inputs == (TensorInfo("x", "float", ("n", 3, "?")),)
    assert (inspection.opset, inspection.producer) == (17, "elsewhere")
    assert inspection.to_dict()["card"] is None


def test_invalid_card_is_an_error(tmp_path):
    with pytest.raises(ExportError, match=r"m\.onnx: the model card inside is not readable"):
        inspect_file(write_foreign(tmp_path / "m.onnx", **{KEY: "{"}))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100], ids=repr)
def test_other_content_is_refused(tmp_path, content):
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(ExportError, match="is not an ONNX file"):
        inspect_file(file)


def test_truncated_file_is_refused(exported, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(exported.path.read_bytes()[:-100])
    with pytest.raises(ExportError, match="is not an ONNX file, or is truncated"):
        inspect_file(file)
    with pytest.raises(ExportError, match="There is no file"):
        inspect_file(tmp_path / "none.onnx")


def make_archive(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_archive_of_torch(exported, tmp_path):
    card = replace(exported.card, input="tensor", opset=0)
    file = tmp_path / "m.pt2"
    file.write_bytes(with_digest(make_archive([("m/models/model.json", "{}"), (f"m/extra/{KEY}", card.to_json())])))
    inspection = inspect_file(file)
    assert inspection.card == card
    assert inspection.inputs == (TensorInfo("tensor", "float", ("batch", 3, *card.preprocess.size)),)
    shapes = [("batch", 3), ("batch", 3), ("batch", "height", "width"), ("batch",)]
    assert [value.shape for value in inspection.outputs] == shapes
    assert inspection.producer.startswith("torch.export ")
    assert inspection.bytes == file.stat().st_size


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",
        make_archive([]),
        make_archive([("m/data", "x")]),
        make_archive([(f"m/extra/{KEY}", b"\xff")]),
        make_archive([("m/extra/zoo", "")])[:-9],
    ],
    ids=["truncated", "empty", "without a card", "not text", "without its end"],
)
def test_invalid_archive_is_refused(tmp_path, content):
    file = tmp_path / "m.pt2"
    file.write_bytes(content)
    with pytest.raises(ExportError, match=r"m\.pt2 is not an (archive of|ONNX file)"):
        inspect_file(file)


def test_huge_card_of_an_archive_is_refused(tmp_path):
    file = tmp_path / "m.pt2"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(f"m/extra/{KEY}", "w") as card:
        for _ in range(64):
            card.write(b" " * 2**20)
    with pytest.raises(ExportError, match="longer than 16 MiB"):
        inspect_file(file)


def test_encrypted_file_is_decrypted_in_memory(exported, tmp_path):
    file = tmp_path / "m.onnx.age"
    encrypt_file(exported.path, file, passphrase="correct horse")
    inspection = inspect_file(file, ask=lambda name: "correct horse")
    assert inspection == replace(inspect_file(exported.path), path=file, bytes=file.stat().st_size)
    with pytest.raises(IntegrityError, match="does not open with this passphrase"):
        inspect_file(file, ask=lambda name: "wrong")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_inspect_needs_neither_torch_nor_a_runtime(exported):
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from zoo.cli.main import main\n"
        f"main(['inspect', {str(exported.path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "red, green, blue" in done.stdout


def test_read_card_refuses_files_without_a_card(exported, tmp_path):
    assert read_card(exported.path) == exported.card
    with pytest.raises(ExportError, match="has no model card"):
        read_card(write_foreign(tmp_path / "foreign.onnx"))
    for content in (b"", b"junk" * 100, b"\x0a\xff\xff"):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(ExportError, match=r"broken\.onnx"):
            read_card(tmp_path / "broken.onnx")
    with pytest.raises(ExportError, match="There is no file"):
        read_card(tmp_path / "nowhere.onnx")
