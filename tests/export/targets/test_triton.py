"""The model repository: checked against Triton's own schema, and queried by the client that is written beside it."""

import json
import os
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import onnx
import pytest
from onnx_files import CLASSES, make_card, make_model
from PIL import Image

from zoo.errors import ConfigError, ExportError
from zoo.preprocess import Preprocess
from zoo_export.runtime.predictor import load
from zoo_export.targets.triton import write_triton


@pytest.fixture
def write(tmp_path):
    """A function that makes a file with a card and adds it to the repository ``serve``."""

    def add(name="colours", *, max_batch=8, **changes):
        file = tmp_path / "some model.onnx"
        onnx.save(make_model(make_card(**changes)), file)
        return write_triton(file, tmp_path / "serve", name=name, max_batch=max_batch)

    return add


def test_layout_is_that_of_triton(write, tmp_path):
    assert write() == tmp_path / "serve" / "colours" / "1"
    files = sorted(
        str(path.relative_to(tmp_path / "serve")) for path in (tmp_path / "serve").rglob("*") if path.is_file()
    )
    assert files == ["colours/1/model.onnx", "colours/client.py", "colours/config.pbtxt", "colours/labels.txt"]
    assert (tmp_path / "serve/colours/labels.txt").read_text().splitlines() == list(CLASSES)
    assert load(tmp_path / "serve/colours/1/model.onnx", device="cpu").classes == CLASSES


def test_configuration_follows_the_schema_and_the_graph(write, tmp_path):
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    write(preprocess=Preprocess(size=(16, 12), resize=16), max_batch=5)
    config = schema.ModelConfig()
    text_format.Parse((tmp_path / "serve/colours/config.pbtxt").read_text(), config)
    assert (config.name, config.backend, config.max_batch_size) == ("colours", "onnxruntime", 5)
    (image,) = config.input
    assert (image.name, image.data_type, list(image.dims)) == ("image", schema.TYPE_UINT8, [-1, -1, 3])
    outputs = {output.name: output for output in config.output}
    assert {name: list(output.dims) for name, output in outputs.items()} == {
        "probabilities": [3],
        "logits": [3],
        "heatmap": [16, 12],
    }
    assert {output.data_type for output in outputs.values()} == {schema.TYPE_FP32}
    assert [output.label_filename for output in outputs.values()] == ["labels.txt", "", ""]
    assert config.HasField("dynamic_batching")
    assert list(config.model_warmup[0].inputs["image"].dims) == [16, 12, 3]


def test_existing_model_gets_its_next_version(write, tmp_path):
    for number in (1, 2):
        assert write().name == str(number)
    (tmp_path / "serve/colours/10").mkdir()
    assert write().name == "11"
    assert not [path for path in (tmp_path / "serve/colours").iterdir() if path.name.startswith(".")]
    with pytest.raises(ExportError, match="colours already serves other classes") as caught:
        write(classes=("a", "b", "c"))
    assert "--name" in caught.value.hint
    assert (tmp_path / "serve/colours/labels.txt").read_text().split() == list(CLASSES)


@pytest.mark.parametrize("name", ["", "a b", "../up", ".hidden", "a/b", 'a"b'])
def test_invalid_model_name_is_refused(write, name):
    with pytest.raises(ConfigError, match="is not a valid model name"):
        write(name)


def test_files_that_triton_cannot_serve_are_refused(write, tmp_path):
    with pytest.raises(ExportError, match="takes normalised tensors") as caught:
        write(input="tensor")
    assert "--input pixels" in caught.value.hint
    with pytest.raises(ExportError, match=r"The class 'a\\nb' cannot be a line"):
        write(classes=("a\nb", "c", "d"))
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "occupied").write_text("a file")
    with pytest.raises(ExportError, match=r"Cannot write to .*occupied: File exists") as caught:
        write("occupied")
    assert "--to" in caught.value.hint


class Server(BaseHTTPRequestHandler):
    """Answers as Triton does: the Open Inference Protocol with its binary and its classification extension."""

    def do_POST(self):
        assert self.path == "/v2/models/colours/infer"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers["Inference-Header-Content-Length"])
        request = json.loads(body[:length])
        (given,) = request["inputs"]
        assert (given["name"], given["datatype"]) == ("image", "UINT8")
        pixels = np.frombuffer(body[length:], dtype=np.uint8).reshape(given["shape"])
        count = request["outputs"][0]["parameters"]["classification"]
        ranked = self.server.predictor.predict(pixels[0]).probabilities
        lines = [f"{p:f}:{CLASSES.index(name)}:{name}" for name, p in list(ranked.items())[:count]]
        data = b"".join(struct.pack("<I", len(line)) + line.encode() for line in lines)
        output = {"name": "probabilities", "datatype": "BYTES", "shape": [1, count]}
        output["parameters"] = {"binary_data_size": len(data)}
        header = json.dumps({"model_name": "colours", "model_version": "1", "outputs": [output]}).encode()
        self.send_response(200)
        self.send_header("Inference-Header-Content-Length", str(len(header)))
        self.send_header("Content-Length", str(len(header) + len(data)))
        self.end_headers()
        self.wfile.write(header + data)

    def log_message(self, *_):
        """Logs nothing."""


def test_client_sends_raw_photos_and_prints_the_answer(write, tmp_path):
    pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed", exc_type=Exception)
    version = write()
    photo = np.full((20, 30, 3), (30, 220, 40), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with HTTPServer(("localhost", 0), Server) as server:
        server.predictor = load(version / "model.onnx", device="cpu")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [sys.executable, version.parent / "client.py", "photo.png"],
            env={**os.environ, "TRITON": f"localhost:{server.server_port}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    probability = server.predictor.predict(photo).probability
    assert first == f"photo.png  green  {probability:.1%}"
    assert len(others) == 2
