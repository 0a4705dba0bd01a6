"""A session runs on the requested device, or the error says why not."""

import numpy as np
import pytest
from onnx_files import make_card, make_model

from zoo.errors import ExportError
from zoo_export.runtime import predictor, providers, session
from zoo_export.runtime.predictor import load
from zoo_export.runtime.session import open_session

MODEL = make_model(make_card()).SerializeToString()
PHOTO = np.full((20, 30, 3), (200, 10, 10), dtype=np.uint8)


@pytest.fixture
def obstacle(monkeypatch):
    """A function that sets the obstacle to CUDA."""

    def set_obstacle(found):
        monkeypatch.setattr(session, "cuda_obstacle", lambda: found)

    return set_obstacle


def test_waiting_threads_sleep_and_fallback_is_off():
    opened = open_session(MODEL, name="m", device="cpu", threads=3)
    options = opened.runtime.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert opened.runtime._enable_fallback is False


def test_default_is_one_thread_per_cpu(monkeypatch):
    monkeypatch.setattr(session, "usable_cpus", lambda: 5)
    assert open_session(MODEL, name="m", device="cpu").runtime.get_session_options().intra_op_num_threads == 5


def test_auto_silently_chooses_the_cpu_without_a_gpu(obstacle, capfd):
    obstacle(providers.Obstacle("there is no NVIDIA driver", "Install it.", expected=True))
    opened = open_session(MODEL, name="m")
    assert (opened.provider, opened.note) == (providers.CPU, "")
    assert capfd.readouterr() == ("", "")


def test_auto_reports_why_a_gpu_is_not_used(obstacle):
    obstacle(providers.Obstacle("libcurand.so.10 is missing", "Install it."))
    loaded = load(MODEL)
    assert loaded.provider == providers.CPU
    assert loaded.notes == ("Not on CUDA: libcurand.so.10 is missing",)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_is_cuda_or_an_error(obstacle, device, monkeypatch):
    obstacle(providers.Obstacle("libcurand.so.10 is missing.", "Install it."))
    monkeypatch.setattr(session, "package_conflict", lambda: None)
    with pytest.raises(ExportError, match=rf"^m cannot run on {device}: libcurand\.so\.10 is missing\.\n") as caught:
        open_session(MODEL, name="m", device=device)
    assert caught.value.hint == "Install it."
    monkeypatch.setattr(session, "package_conflict", lambda: providers.Obstacle("two packages clash", "Remove one."))
    with pytest.raises(ExportError, match="is missing; and two packages clash"):
        open_session(MODEL, name="m", device=device)


def test_session_that_fell_back_to_the_cpu_is_detected(obstacle, monkeypatch):
    """If CUDA does not work, ONNX Runtime opens a session on the CPU without an error."""
    opened = session._open
    monkeypatch.setattr(session, "_open", lambda model, name, options, _: opened(model, name, options, [providers.CPU]))
    obstacle(None)
    with pytest.raises(ExportError, match="m cannot run on cuda: ONNX Runtime fell back to the CPU"):
        open_session(MODEL, name="m", device="cuda")
    assert open_session(MODEL, name="m").note == "Not on CUDA: ONNX Runtime fell back to the CPU"


def test_gpu_that_cannot_be_opened_falls_back_or_fails(obstacle, monkeypatch):
    """There is no second GPU, for example, or the only one is out of memory."""
    opened = session._open

    def fail_on_cuda(model, name, options, providers_):
        if providers_ != [providers.CPU]:
            cause = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 101: invalid device ordinal")
            raise ExportError(f"{name} cannot be opened.", hint="It is no file of 'zoo export'.") from cause
        return opened(model, name, options, providers_)

    monkeypatch.setattr(session, "_open", fail_on_cuda)
    obstacle(None)
    on_cpu = open_session(MODEL, name="m")
    assert (on_cpu.provider, on_cpu.note) == (providers.CPU, "Not on CUDA: CUDA failure 101: invalid device ordinal")
    with pytest.raises(ExportError, match="m cannot run on cuda:1: CUDA failure 101: invalid device ordinal") as caught:
        open_session(MODEL, name="m", device="cuda:1")
    assert "zoo doctor" in caught.value.hint
    with pytest.raises(ExportError, match="m cannot be opened: it is not an ONNX file"):
        open_session(b"\xff", name="m", device="cuda")


def test_gpu_that_fails_in_the_first_run_falls_back_or_fails(monkeypatch):
    """A session opens on a GPU that is too old, or out of memory."""
    opened = session.open_session(MODEL, name="m", device="cpu")
    broken = session.Session(runtime=opened.runtime, provider=providers.CUDA)

    def open_broken(source, *, name, device, threads):
        return opened if device == "cpu" else broken

    def run_session(of, outputs, feed, *, name):
        if of.provider == providers.CUDA:
            raise ExportError("m fails on CUDAExecutionProvider: no kernel image.")
        return session.run_session(of, outputs, feed, name=name)

    monkeypatch.setattr(predictor, "open_session", open_broken)
    monkeypatch.setattr(predictor, "run_session", run_session)
    with pytest.raises(ExportError, match="no kernel image"):
        load(MODEL, device="cuda")
    loaded = load(MODEL)
    assert loaded.provider == providers.CPU
    assert loaded.notes == ("m fails on CUDAExecutionProvider: no kernel image.",)
    assert loaded.predict(PHOTO).label == "red"


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    if found := providers.cuda_obstacle():
        pytest.skip(found.reason)
    cuda, cpu = load(MODEL, device="cuda"), load(MODEL, device="cpu")
    assert cuda.provider == providers.CUDA
    assert load(MODEL).provider == providers.CUDA
    images = [cuda.read(PHOTO, name="x")] * 3
    np.testing.assert_allclose(cuda.probabilities(images), cpu.probabilities(images), atol=1e-5)
