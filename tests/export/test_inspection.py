"""What a file tells, ours and others'."""

import io
import subprocess
import sys
import zipfile
from dataclasses import replace

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import ExportError, IntegrityError
from zoo_export.card import KEY
from zoo_export.inspection import Value, inspect
from zoo_export.secrecy import encrypt_file


def foreign(path, **properties):
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


def test_our_own(exported):
    inspected = inspect(exported.path)
    assert inspected.inputs == (Value("image", "uint8", ("batch", "height", "width", 3)),)
    assert [value.name for value in inspected.outputs] == ["probabilities", "logits", "heatmap"]
    assert inspected.outputs[0].shape == ("batch", 3)
    assert inspected.opset == 18
    assert inspected.producer.startswith("finetune-zoo ")
    assert inspected.bytes == exported.path.stat().st_size == exported.bytes
    assert inspected.to_dict()["card"]["classes"] == exported.card.classes


def test_somebody_elses(tmp_path):
    inspected = inspect(foreign(tmp_path / "m.onnx"))
    assert inspected.card is None
    assert inspected.inputs == (Value("x", "float", ("n", 3, "?")),)
    assert (inspected.opset, inspected.producer) == (17, "elsewhere")
    assert inspected.to_dict()["card"] is None


def test_a_broken_card_is_told(tmp_path):
    with pytest.raises(ExportError, match=r"m\.onnx: the description inside is not readable"):
        inspect(foreign(tmp_path / "m.onnx", **{KEY: "{"}))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100], ids=repr)
def test_what_is_no_onnx_file(tmp_path, content):
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(ExportError, match="is no ONNX file"):
        inspect(file)


def test_a_file_cut_off(exported, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(exported.path.read_bytes()[:-100])
    with pytest.raises(ExportError, match="is no ONNX file, or was cut off"):
        inspect(file)
    with pytest.raises(ExportError, match="cannot be read"):
        inspect(tmp_path / "none.onnx")


def archive(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in entries:
            written.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_of_torch(exported, tmp_path):
    card = replace(exported.card, input="tensor", opset=0)
    file = tmp_path / "m.pt2"
    file.write_bytes(archive([("m/models/model.json", "{}"), (f"m/extra/{KEY}", card.to_json())]))
    inspected = inspect(file)
    assert inspected.card == card
    assert inspected.inputs == (Value("tensor", "float", ("batch", 3, *card.preprocess.size)),)
    assert [value.shape for value in inspected.outputs] == [("batch", 3), ("batch", 3), ("batch", "height", "width")]
    assert inspected.producer.startswith("torch.export ")
    assert inspected.bytes == file.stat().st_size


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",
        archive([]),
        archive([("m/data", "x")]),
        archive([(f"m/extra/{KEY}", b"\xff")]),
        archive([("m/extra/zoo", "")])[:-9],
    ],
    ids=["cut off", "empty", "without a card", "no text", "without its end"],
)
def test_what_is_no_archive(tmp_path, content):
    file = tmp_path / "m.pt2"
    file.write_bytes(content)
    with pytest.raises(ExportError, match=r"m\.pt2 is no (archive of|ONNX file)"):
        inspect(file)


def test_the_card_of_an_archive_cannot_fill_the_memory(tmp_path):
    file = tmp_path / "m.pt2"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written, written.open(f"m/extra/{KEY}", "w") as card:
        for _ in range(64):
            card.write(b" " * 2**20)
    with pytest.raises(ExportError, match="longer than 16 MiB"):
        inspect(file)


def test_an_encrypted_file(exported, tmp_path):
    file = tmp_path / "m.onnx.age"
    encrypt_file(exported.path, file, passphrase="correct horse")
    inspected = inspect(file, ask=lambda what: "correct horse")
    assert inspected == replace(inspect(exported.path), path=file, bytes=file.stat().st_size)
    with pytest.raises(IntegrityError, match="does not open with this passphrase"):
        inspect(file, ask=lambda what: "wrong")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_it_needs_no_torch(exported):
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from zoo.cli.main import main\n"
        f"main(['inspect', {str(exported.path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "red, green, blue" in done.stdout
