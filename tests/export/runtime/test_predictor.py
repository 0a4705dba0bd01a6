"""The predictor of exported files: the same prediction from every source, and an error for every foreign file."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import CLASSES, SQUARE, make_card, make_model
from PIL import Image

import zoo_export
from zoo.errors import ConfigError, ExportError, ImageError, IntegrityError, PredictionError
from zoo.preprocess import Preprocess
from zoo_export.runtime.predictor import load
from zoo_export.security import encryption

WITHOUT_TORCH = """
import sys
REFUSED = ("torch", "torchvision", "timm", "onnx", "scipy")
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Refuse())
"""


def make_photo(label=0, height=24, width=30, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 90, (height, width, 3), dtype=np.uint8)
    pixels[..., label] += 140
    return pixels


def write(folder, card):
    file = folder / "model.onnx"
    onnx.save(make_model(card), file)
    return file


@pytest.fixture
def file(tmp_path):
    return write(tmp_path, make_card())


@pytest.fixture
def predictor(file):
    return load(file, device="cpu")


@pytest.fixture
def photos(tmp_path):
    """Photos of three sizes and colours, as files."""
    files = []
    for number, (height, width) in enumerate([(24, 30), (40, 17), (16, 16), (9, 60)]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(make_photo(number % 3, height, width, number)).save(files[-1])
    return files


@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_every_source_of_photo_and_model_gives_the_same_prediction(tmp_path, photos, kind):
    file = write(tmp_path, make_card(input=kind))
    predictions = []
    for predictor in (load(file), load(str(file), device="cpu", threads=1), zoo_export.load(file.read_bytes())):
        for path in photos:
            sources = (path, str(path), path.read_bytes(), np.array(Image.open(path)))
            results = [predictor.predict(source).probabilities for source in sources]
            assert results[0] == results[1] == results[2] == results[3]
            predictions.append(results[0])
    assert predictions[:4] == predictions[4:8] == predictions[8:]
    assert [max(each, key=each.get) for each in predictions[:4]] == ["red", "green", "blue", "red"]


def test_predictor_describes_itself(predictor, file):
    assert (predictor.name, predictor.classes, predictor.preprocess) == (str(file), CLASSES, SQUARE)
    assert (predictor.provider, predictor.precision) == ("CPUExecutionProvider", "fp32")
    assert predictor.card == make_card()
    assert predictor.notes == ()
    predictor.warm_up()


def test_unverified_file_has_a_note(tmp_path):
    (note,) = load(write(tmp_path, make_card(parity={"verified": False})), device="cpu").notes
    assert note.endswith("model.onnx was never compared with the run that it was exported from.")


SPECS = [
    SQUARE,
    Preprocess(size=(16, 16), resize=20),
    Preprocess(size=(16, 16), resize=19),
    Preprocess(size=(15, 16), resize=22),
    Preprocess(size=(16, 12), resize=13),
    Preprocess(size=(12, 16), resize=40, interpolation="bicubic"),
]


def test_padding_that_a_batch_cannot_reproduce_needs_tensors(tmp_path):
    spec = Preprocess(size=(16, 16), resize=12)
    with pytest.raises(ExportError, match=r"resizes photos to 12 pixels and pads them to 16 x 16") as caught:
        load(write(tmp_path, make_card(preprocess=spec)), device="cpu")
    assert "--input tensor" in caught.value.hint
    tensor = load(write(tmp_path, make_card(preprocess=spec, input="tensor")), device="cpu")
    assert tensor.predict(make_photo()).label == "red"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resize}-{spec.size}")
@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_batch_agrees_with_single_photos(tmp_path, spec, kind):
    predictor = load(write(tmp_path, make_card(preprocess=spec, input=kind)), device="cpu")
    images = [predictor.read(make_photo(label, 20 + 7 * label), name="x") for label in range(3)]
    batched = predictor.probabilities(images)
    assert batched.shape == (3, 3)
    assert batched.dtype == np.float32
    np.testing.assert_array_equal(batched, np.concatenate([predictor.probabilities([image]) for image in images]))
    pooled = (np.stack(images).mean(axis=(1, 2)) / 255 - spec.mean) / spec.std
    scores = np.exp(4 * pooled)
    np.testing.assert_allclose(batched, scores / scores.sum(axis=1, keepdims=True), rtol=1e-3)


def test_files_are_predicted_in_order_with_errors_in_their_place(predictor, photos, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    first, bad, *others = predictor.predict_files([photos[0], tmp_path / "bad.png", *photos[1:]])
    assert isinstance(bad, ImageError)
    assert [first.label, *(other.label for other in others)] == ["red", "green", "blue", "red"]
    with pytest.raises(ImageError, match=r"not uint8 \(H, W, 3\)"):
        predictor.predict(np.zeros((3, 8, 8), dtype=np.uint8))


def test_explain_returns_the_same_prediction_and_a_heat_map(predictor, photos):
    prediction, heatmap = predictor.explain(photos[1])
    assert prediction == predictor.predict(photos[1])
    assert heatmap.shape == (16, 16)
    assert heatmap.dtype == np.float32
    assert 0 <= heatmap.min() < heatmap.max() <= 1


def test_threads_share_a_predictor(predictor, photos):
    expected = [predictor.predict(path) for path in photos]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predictor.predict, photos * 25)) == expected * 25


def test_encrypted_file_is_opened_in_memory(file, monkeypatch):
    pytest.importorskip("pyrage", reason="pyrage is not installed")
    key, target = file.parent / "key", file.parent / "model.onnx.age"
    public = encryption.create_key(key)
    encryption.encrypt_file(file, target, recipients=[public])
    file.unlink()
    monkeypatch.delenv("ZOO_KEY_FILE", raising=False)
    with pytest.raises(IntegrityError, match="is encrypted and needs a private key"):
        load(target, device="cpu")
    monkeypatch.setenv("ZOO_KEY_FILE", str(key))
    predictor = load(target, device="cpu")
    assert predictor.name == str(target)
    assert predictor.predict(make_photo(1)).label == "green"
    assert {path.name for path in file.parent.iterdir()} == {"key", "model.onnx.age"}


def test_passphrase_is_asked_for_on_a_terminal(file, monkeypatch):
    monkeypatch.delenv("ZOO_PASSPHRASE_FILE", raising=False)
    monkeypatch.setattr(encryption, "needs_passphrase", lambda path: True)
    secrets = []

    def read_decrypted(path, secret):
        secrets.append(secret)
        return path.read_bytes()

    monkeypatch.setattr("zoo_export.exported_files.read_decrypted", read_decrypted)
    encrypted = file.rename(file.parent / "model.onnx.AGE")
    assert load(encrypted, device="cpu", ask=lambda what: f"of {what}").classes == CLASSES
    assert secrets[0].passphrase == "of model.onnx.AGE"


# Files that 'zoo export' did not write, or that were changed since


def load_error(content):
    with pytest.raises(ExportError) as caught:
        load(content, device="cpu")
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", bytes(100), bytes(range(256)) * 9])
def test_other_content_is_refused(content, tmp_path):
    (tmp_path / "odd.onnx").write_bytes(content)
    assert "odd.onnx cannot be opened: " in load_error(tmp_path / "odd.onnx")
    assert "The model cannot be opened: " in load_error(content)


def test_every_way_to_pass_a_model_is_accepted(file, tmp_path, monkeypatch, photos):
    expected = load(file).predict(photos[0]).probabilities
    monkeypatch.setenv("HOME", str(file.parent))
    content = file.read_bytes()
    for model in (str(file), f"~/{file.name}", content, bytearray(content), memoryview(content)):
        assert load(model).predict(photos[0]).probabilities == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "argument 'model' cannot be of type NoneType"),
        ({"model": 3}, "argument 'model' cannot be of type int"),
        ({"model": ["a.onnx"]}, "argument 'model' cannot be of type list"),
        ({"device": None}, "argument 'device' cannot be of type NoneType"),
        ({"threads": "2"}, "argument 'threads' cannot be of type str"),
        ({"threads": 0}, "argument 'threads' is 0"),
        ({"ask": "secret"}, "argument 'ask' cannot be of type str"),
    ],
)
def test_an_argument_of_another_type_is_refused(file, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(**{"model": file, **arguments})
    assert caught.value.hint.startswith("Pass ")


def test_a_git_lfs_pointer_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n")
    with pytest.raises(ExportError, match="is a Git LFS pointer") as caught:
        load(tmp_path / "model.onnx")
    assert "git lfs pull" in caught.value.hint


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "There is no file" in load_error(tmp_path / "missing.onnx")
    assert "There is no file" in load_error(tmp_path)


def test_truncated_and_modified_files_are_refused_or_still_predict(file):
    """Whatever happens to a file in transit: an `ExportError`, or a prediction of the right form."""
    intact = file.read_bytes()
    random = np.random.default_rng(0)
    for number in range(120):
        content = bytearray(intact)
        if number < 40:
            del content[random.integers(1, len(content)) :]
        else:
            content[random.integers(len(content))] = random.integers(256)
        try:
            prediction = load(bytes(content), device="cpu").predict(make_photo())
        except ExportError:
            continue
        assert len(prediction.probabilities) == len(set(prediction.probabilities))


def modified(modify):
    model = make_model(make_card())
    modify(model)
    return model.SerializeToString()


def rename_input(model):
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]


def drop_heatmap(model):
    del model.graph.output[2], model.graph.node[-2:]


def set_weights_to_nan(model):
    (weight,) = (each for each in model.graph.initializer if each.name == "weight")
    weight.raw_data = np.full((3, 3), np.nan, dtype=np.float32).tobytes()


def use_a_custom_operator(model):
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Custom", "acme"


def claim_a_huge_tensor(model):
    (weight,) = (each for each in model.graph.initializer if each.name == "weight")
    weight.dims[:] = [1 << 40, 1 << 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (modified(lambda model: model.ClearField("metadata_props")), "was not written by 'zoo export'"),
        (make_model(make_card(), text="{}").SerializeToString(), "the model card inside is not readable"),
        (make_model(make_card(), classes=2).SerializeToString(), "it has 2 outputs for 3 classes"),
        (
            make_model(make_card(), text=make_card(input="tensor").to_json()).SerializeToString(),
            "its inputs are ['image'], not ['tensor']",
        ),
        (modified(rename_input), "its inputs are ['picture'], not ['image']"),
        (modified(drop_heatmap), "it has no output 'heatmap' of float32"),
        (modified(use_a_custom_operator), "cannot be opened"),
        (modified(claim_a_huge_tensor), "cannot be opened"),
    ],
    ids=["no card", "empty card", "classes", "kind", "name", "heatmap", "operator", "size"],
)
def test_graph_that_contradicts_its_card_is_refused(content, message):
    assert message in load_error(content)


def test_output_that_is_not_finite_is_an_error():
    predictor = load(modified(set_weights_to_nan), device="cpu")
    with pytest.raises(PredictionError, match="photo: The model returns NaN or infinity as its 'probabilities'"):
        predictor.predict(make_photo())
    with pytest.raises(PredictionError, match="The model returns NaN or infinity"):
        predictor.probabilities([np.zeros((*predictor.preprocess.size, 3), np.uint8)])


def test_failing_graph_is_an_error():
    model = make_model(make_card())
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3]))
    (size,) = (each for each in model.graph.initializer if each.name == "mean")
    size.dims[:] = [1, 1, 3]
    with pytest.raises(ExportError, match="The model fails on CPUExecutionProvider: "):
        load(model.SerializeToString(), device="cpu").predict(make_photo())


def test_external_data_is_refused(tmp_path):
    model = make_model(make_card())
    (weight,) = (each for each in model.graph.initializer if each.name == "weight")
    (tmp_path / "secret").write_bytes(bytes(36))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "model.onnx"
    file.write_bytes(model.SerializeToString())
    assert "cannot be opened" in load_error(file)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps", "", "cpu:0", "CUDA"])
def test_unknown_device_is_refused(file, device):
    with pytest.raises(ConfigError, match="There is no device") as caught:
        load(file, device=device)
    assert "auto, cpu, cuda or cuda:1" in caught.value.hint


# Without torch


def run_python(program, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "ZOO_HOME": str(cwd), "COLUMNS": "100"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predictor_needs_neither_torch_nor_onnx_nor_scipy(file, photos):
    program = WITHOUT_TORCH + (
        "import zoo_export\n"
        "predictor = zoo_export.load(sys.argv[1])\n"
        "print(predictor.predict(sys.argv[2]).label, predictor.explain(sys.argv[3])[0].label)\n"
    )
    assert run_python(program, file, *photos[:2], cwd=file.parent).split() == ["red", "green"]


@pytest.mark.parametrize(
    "command", [["predict", "model.onnx", "0.png", "1.png"], ["evaluate", "model.onnx", "--data", "x"]]
)
def test_commands_import_no_torch(command, file, photos):
    for number, label in enumerate(CLASSES):
        folder = file.parent / "x" / label
        folder.mkdir(parents=True)
        photos[number].rename(folder / "a.png") if command[0] == "evaluate" else None
    program = WITHOUT_TORCH + (
        "from zoo.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'torchvision', 'timm', 'onnx', 'scipy'} & set(sys.modules)))\n"
    )
    out = run_python(program, *command, cwd=file.parent)
    assert ("100.0 %" if command[0] == "evaluate" else "1.png  green") in out
    assert out.endswith("[]\n")
