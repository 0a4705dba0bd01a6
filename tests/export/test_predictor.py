"""The predictor of exported files: one answer on every path, and an error for whatever is not one of ours."""

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import CLASSES, SQUARE, card, model
from PIL import Image

import zoo_export
from zoo.data.images.decode import preprocess
from zoo.errors import ConfigError, ExportError, ImageError, IntegrityError
from zoo.preprocess import Preprocess
from zoo_export.frame import frame_of, normaliser
from zoo_export.predictor import load

WITHOUT_TORCH = """
import sys
REFUSED = ("torch", "torchvision", "timm", "onnx", "scipy")
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Refuse())
"""


def photo(label=0, height=24, width=30, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 90, (height, width, 3), dtype=np.uint8)
    pixels[..., label] += 140
    return pixels


def write(folder, of, name="model.onnx", **changes):
    file = folder / name
    onnx.save(model(of, **changes), file)
    return file


@pytest.fixture
def file(tmp_path):
    return write(tmp_path, card())


@pytest.fixture
def predictor(file):
    return load(file, device="cpu")


@pytest.fixture
def photos(tmp_path):
    """Photos of three sizes and colours, as files."""
    files = []
    for number, (height, width) in enumerate([(24, 30), (40, 17), (16, 16), (9, 60)]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(photo(number % 3, height, width, number)).save(files[-1])
    return files


@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_file_bytes_path_and_pixels_are_predicted_alike_by_file_and_bytes_of_the_model(tmp_path, photos, kind):
    file = write(tmp_path, card(input=kind))
    told = []
    for predictor in (load(file), load(str(file), device="cpu", threads=1), zoo_export.load(file.read_bytes())):
        for path in photos:
            sources = (path, str(path), path.read_bytes(), np.array(Image.open(path)))
            answers = [predictor.predict(source).probabilities for source in sources]
            assert answers[0] == answers[1] == answers[2] == answers[3]
            told.append(answers[0])
    assert told[:4] == told[4:8] == told[8:]
    assert [max(answer, key=answer.get) for answer in told[:4]] == ["red", "green", "blue", "red"]


def test_it_tells_of_itself(predictor, file):
    assert (predictor.name, predictor.classes, predictor.preprocess) == (str(file), CLASSES, SQUARE)
    assert (predictor.provider, predictor.precision) == ("CPUExecutionProvider", "fp32")
    assert predictor.card == card()
    assert predictor.notes == ()
    predictor.warm_up()


def test_what_was_never_compared_with_its_run_says_so(tmp_path):
    (note,) = load(write(tmp_path, card(parity={"verified": False})), device="cpu").notes
    assert note.endswith("model.onnx was never compared with the run that it came from.")


SHAPES = [
    SQUARE,
    Preprocess(size=(16, 16), resize=20),
    Preprocess(size=(16, 16), resize=19),
    Preprocess(size=(15, 16), resize=22),
    Preprocess(size=(16, 12), resize=13),
    Preprocess(size=(12, 16), resize=40, interpolation="bicubic"),
    Preprocess(size=(16, 16), resize=16, resize_mode="longer"),
    Preprocess(size=(16, 16), resize=21, resize_mode="longer"),
    Preprocess(size=(16, 12), resize=99, resize_mode="squash"),
]


@pytest.mark.parametrize("spec", SHAPES, ids=lambda spec: f"{spec.resize_mode}-{spec.resize}-{spec.size}")
def test_a_frame_is_left_as_it_is_by_the_preprocessing_and_cropped_to_what_was_laid_in(spec):
    """What `zoo.data.images.decode.preprocess` holds for, the graph does too: both are of the same whole numbers."""
    images = [preprocess(photo(seed=seed, height=height), spec) for seed, height in enumerate((24, 11, 50))]
    frames = frame_of(spec, name="x")(images)
    assert frames.dtype == np.uint8
    for image, frame in zip(images, frames, strict=True):
        np.testing.assert_array_equal(preprocess(frame, spec), image)


@pytest.mark.parametrize("sizes", [(24, 16), (9, 16), (16, 16)])
def test_a_frame_smaller_than_the_network_is_padded_as_the_photo_was(sizes):
    spec = Preprocess(size=sizes, resize=12, resize_mode="longer")
    image = preprocess(photo(), spec)
    (frame,) = frame_of(spec, name="x")([image])
    np.testing.assert_array_equal(preprocess(frame, spec), image)


def test_padding_that_no_frame_can_tell_is_refused(tmp_path):
    spec = Preprocess(size=(16, 16), resize=12)
    with pytest.raises(ExportError, match=r"resizes photos to 12 pixels and pads them to 16 x 16") as caught:
        load(write(tmp_path, card(preprocess=spec)), device="cpu")
    assert "--input tensor" in caught.value.hint
    assert load(write(tmp_path, card(preprocess=spec, input="tensor")), device="cpu").predict(photo()).label == "red"


@pytest.mark.parametrize("spec", SHAPES[:6], ids=lambda spec: f"{spec.resize}-{spec.size}")
@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_a_batch_says_what_each_photo_says_alone(tmp_path, spec, kind):
    predictor = load(write(tmp_path, card(preprocess=spec, input=kind)), device="cpu")
    images = [predictor.read(photo(label, 20 + 7 * label), name="x") for label in range(3)]
    together = predictor.probabilities(images)
    assert together.shape == (3, 3)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([predictor.probabilities([image]) for image in images]))
    pooled = (np.stack(images).mean(axis=(1, 2)) / 255 - spec.mean) / spec.std
    scores = np.exp(4 * pooled)
    np.testing.assert_allclose(together, scores / scores.sum(axis=1, keepdims=True), rtol=1e-3)


def test_tensors_are_normalised_to_the_last_bit_as_torch_does_it():
    import torch

    from zoo.data.loading.augment import normalise

    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    ours = normaliser(SQUARE)(list(images))
    theirs = normalise(torch.from_numpy(images).permute(0, 3, 1, 2), SQUARE).contiguous().numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_files_are_predicted_in_order_and_bad_ones_told_in_their_place(predictor, photos, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    first, bad, *others = predictor.predict_files([photos[0], tmp_path / "bad.png", *photos[1:]])
    assert isinstance(bad, ImageError)
    assert [first.label, *(other.label for other in others)] == ["red", "green", "blue", "red"]
    with pytest.raises(ImageError, match=r"not uint8 \(H, W, 3\)"):
        predictor.predict(np.zeros((3, 8, 8), dtype=np.uint8))


def test_explain_gives_the_same_prediction_and_a_map(predictor, photos):
    prediction, heatmap = predictor.explain(photos[1])
    assert prediction == predictor.predict(photos[1])
    assert heatmap.shape == (16, 16)
    assert heatmap.dtype == np.float32
    assert 0 <= heatmap.min() < heatmap.max() <= 1


def test_threads_share_a_predictor(predictor, photos):
    alone = [predictor.predict(path) for path in photos]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predictor.predict, photos * 25)) == alone * 25


def test_an_encrypted_file_is_opened_in_memory(file, monkeypatch):
    secrecy = pytest.importorskip("zoo_export.secrecy")
    pytest.importorskip("pyrage", reason="pyrage is not installed")
    key, target = file.parent / "key", file.parent / "model.onnx.age"
    public = secrecy.new_key(key)
    secrecy.encrypt_file(file, target, recipients=[public])
    file.unlink()
    monkeypatch.delenv("ZOO_KEY_FILE", raising=False)
    with pytest.raises(IntegrityError, match="is encrypted, and wants a private key"):
        load(target, device="cpu")
    monkeypatch.setenv("ZOO_KEY_FILE", str(key))
    predictor = load(target, device="cpu")
    assert predictor.name == str(target)
    assert predictor.predict(photo(1)).label == "green"
    assert {path.name for path in file.parent.iterdir()} == {"key", "model.onnx.age"}


def test_whoever_sits_at_the_terminal_is_asked_for_the_passphrase(file, monkeypatch):
    from zoo_export import predictor, secrecy

    monkeypatch.delenv("ZOO_PASSPHRASE_FILE", raising=False)
    monkeypatch.setattr(secrecy, "wants_passphrase", lambda path: True)
    opened = []
    monkeypatch.setattr(predictor, "read_decrypted", lambda path, secret: opened.append(secret) or path.read_bytes())
    encrypted = file.rename(file.parent / "model.onnx.AGE")
    assert load(encrypted, device="cpu", ask=lambda what: f"of {what}").classes == CLASSES
    assert opened[0].passphrase == "of model.onnx.AGE"


# What is not one of ours


def refused(content, device="cpu"):
    with pytest.raises(ExportError) as caught:
        load(content, device=device)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", bytes(100), bytes(range(256)) * 9])
def test_what_is_no_onnx_is_refused(content, tmp_path):
    (tmp_path / "odd.onnx").write_bytes(content)
    assert "odd.onnx cannot be opened: " in refused(tmp_path / "odd.onnx")
    assert "the model cannot be opened: " in refused(content)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "There is no file" in refused(tmp_path / "missing.onnx")
    assert "There is no file" in refused(tmp_path)


def test_every_truncation_and_every_changed_byte_is_refused_or_still_predicts(file):
    """Whatever happens to a file on its way: an error of ours, or an answer of the right form."""
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for number in range(120):
        content = bytearray(whole)
        if number < 40:
            del content[random.integers(1, len(content)) :]
        else:
            content[random.integers(len(content))] = random.integers(256)
        try:
            told = load(bytes(content), device="cpu").predict(photo())
        except ExportError:
            continue
        assert len(told.probabilities) == len(set(told.probabilities))


def changed(change, **values):
    made = model(card(**values))
    change(made)
    return made.SerializeToString()


def rename_input(made):
    made.graph.input[0].name = "picture"
    for node in made.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]


def drop_heatmap(made):
    del made.graph.output[2], made.graph.node[-2:]


def divide_by_zero(made):
    (weight,) = (each for each in made.graph.initializer if each.name == "weight")
    weight.raw_data = np.full((3, 3), np.nan, dtype=np.float32).tobytes()


def needs_an_operator_of_its_own(made):
    made.graph.node[-1].op_type, made.graph.node[-1].domain = "Mood", "acme"


def claims_more_than_there_is(made):
    (weight,) = (each for each in made.graph.initializer if each.name == "weight")
    weight.dims[:] = [1 << 40, 1 << 20]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (changed(lambda made: made.ClearField("metadata_props")), "was not written by 'zoo export'"),
        (model(card(), text="{}").SerializeToString(), "the description inside is not readable"),
        (model(card(), classes=2).SerializeToString(), "it has 2 outputs for 3 classes"),
        (
            model(card(), text=card(input="tensor").to_json()).SerializeToString(),
            "its inputs are ['image'], not 'tensor'",
        ),
        (changed(rename_input), "its inputs are ['picture'], not 'image' alone"),
        (changed(drop_heatmap), "it has no output 'heatmap' of float32"),
        (changed(needs_an_operator_of_its_own), "cannot be opened"),
        (changed(claims_more_than_there_is), "cannot be opened"),
    ],
    ids=["no card", "empty card", "classes", "kind", "name", "heatmap", "operator", "size"],
)
def test_a_graph_that_is_not_what_its_card_says_is_refused(content, told):
    assert told in refused(content)


def test_a_graph_that_gives_nothing_finite_is_told():
    predictor = load(changed(divide_by_zero), device="cpu")
    with pytest.raises(ExportError, match=r"its output 'probabilities' is \(1, 3\), or not finite"):
        predictor.predict(photo())


def test_a_graph_that_fails_is_told():
    made = model(card())
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3]))
    (size,) = (each for each in made.graph.initializer if each.name == "mean")
    size.dims[:] = [1, 1, 3]
    with pytest.raises(ExportError, match="the model fails on CPUExecutionProvider: "):
        load(made.SerializeToString(), device="cpu").predict(photo())


def test_external_data_from_elsewhere_is_refused(tmp_path):
    made = model(card())
    (weight,) = (each for each in made.graph.initializer if each.name == "weight")
    (tmp_path / "secret").write_bytes(bytes(36))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "model.onnx"
    file.write_bytes(made.SerializeToString())
    assert "cannot be opened" in refused(file)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps", "", "cpu:0", "CUDA"])
def test_a_device_that_does_not_exist_is_told(file, device):
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


def test_it_needs_neither_torch_nor_onnx_nor_scipy(file, photos):
    program = WITHOUT_TORCH + (
        "import zoo_export\n"
        "predictor = zoo_export.load(sys.argv[1])\n"
        "print(predictor.predict(sys.argv[2]).label, predictor.explain(sys.argv[3])[0].label)\n"
    )
    assert run_python(program, file, *photos[:2], cwd=file.parent).split() == ["red", "green"]


@pytest.mark.parametrize(
    "command", [["predict", "model.onnx", "0.png", "1.png"], ["evaluate", "model.onnx", "--data", "x"]]
)
def test_the_commands_import_no_torch(command, file, photos):
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


def test_the_plugin_keeps_the_contract_of_its_format():
    from zoo.testing import check_format

    (spec,) = zoo_export.zoo_formats()
    assert spec.suffixes == (".onnx", ".onnx.age")
    check_format(spec)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        zoo_export.nosuch  # noqa: B018


def test_a_card_keeps_what_the_predictor_needs():
    assert dataclasses.asdict(card())["input"] == "pixels"
