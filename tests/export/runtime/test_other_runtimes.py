"""An exported file in other runtimes than ONNX Runtime: `make test-slow` installs them."""

import numpy as np
import onnxruntime
import pytest

pytestmark = pytest.mark.slow

SIZES = [(16, 16), (37, 53), (375, 500), (201, 2)]
OUTPUTS = ["probabilities", "logits"]
# These runtimes compute the weights of the resize in float32, so that a few pixels differ by one level of 255.
TOLERANCE = 5e-3


def open_with_openvino(path):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    # On processors with bf16, OpenVINO would use it.
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photo: [model({"image": photo[None]})[name] for name in OUTPUTS]


def open_with_opencv(path):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(photo):
        network.setInput(photo[None], "image")
        return [network.forward(name) for name in OUTPUTS]

    return run


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("open_file", [open_with_openvino, open_with_opencv])
def test_another_runtime_predicts_the_same_from_its_first_inference_on(exported, open_file, size):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    expected = session.run(OUTPUTS, {"image": photo[None]})
    run = open_file(exported.path)
    for _ in range(2):
        for one, other in zip(expected, run(photo), strict=True):
            np.testing.assert_allclose(one, other, atol=TOLERANCE * max(1.0, float(np.abs(one).max())))
