"""A session runs where it was asked to run, or says why it does not."""

import numpy as np
import pytest
from onnx_files import card, model

from zoo.errors import ExportError
from zoo_export import predictor, providers, session
from zoo_export.predictor import load
from zoo_export.session import open_session

MODEL = model(card()).SerializeToString()
PHOTO = np.full((20, 30, 3), (200, 10, 10), dtype=np.uint8)


@pytest.fixture
def obstacle(monkeypatch):
    """Sets what stands against CUDA."""

    def put(found):
        monkeypatch.setattr(session, "cuda_obstacle", lambda: found)

    return put


def test_waiting_threads_sleep_and_nothing_falls_back_in_silence():
    opened = open_session(MODEL, name="m", device="cpu", threads=3)
    options = opened.runtime.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert opened.runtime._enable_fallback is False


def test_threads_are_as_many_as_there_are_processors(monkeypatch):
    monkeypatch.setattr(session, "usable_cpus", lambda: 5)
    assert open_session(MODEL, name="m", device="cpu").runtime.get_session_options().intra_op_num_threads == 5


def test_auto_takes_the_cpu_where_there_is_no_gpu_and_says_nothing(obstacle, capfd):
    obstacle(providers.Obstacle("there is no NVIDIA driver", "Install it.", expected=True))
    opened = open_session(MODEL, name="m")
    assert (opened.provider, opened.note) == (providers.CPU, "")
    assert capfd.readouterr() == ("", "")


def test_auto_tells_why_a_gpu_is_not_used(obstacle):
    obstacle(providers.Obstacle("libcurand.so.10 is missing", "Install it."))
    told = load(MODEL)
    assert told.provider == providers.CPU
    assert told.notes == ("Not on CUDA: libcurand.so.10 is missing",)


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


def test_a_session_that_took_the_cpu_instead_is_found_out(obstacle, monkeypatch):
    """ONNX Runtime answers a request for CUDA that it cannot fulfil with a session on the CPU."""
    opened = session._opened
    monkeypatch.setattr(
        session, "_opened", lambda model, name, options, _: opened(model, name, options, [providers.CPU])
    )
    obstacle(None)
    with pytest.raises(ExportError, match="m cannot run on cuda: ONNX Runtime took the CPU instead"):
        open_session(MODEL, name="m", device="cuda")
    assert open_session(MODEL, name="m").note == "Not on CUDA: ONNX Runtime took the CPU instead"


def test_a_gpu_that_cannot_even_be_opened_is_left_for_the_cpu_or_told(obstacle, monkeypatch):
    """There is no second GPU, say, or the only one has no memory left."""
    opened = session._opened

    def fail_on_cuda(model, name, options, providers_):
        if providers_ != [providers.CPU]:
            cause = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 101: invalid device ordinal")
            raise ExportError(f"{name} cannot be opened.", hint="It is no file of 'zoo export'.") from cause
        return opened(model, name, options, providers_)

    monkeypatch.setattr(session, "_opened", fail_on_cuda)
    obstacle(None)
    told = open_session(MODEL, name="m")
    assert (told.provider, told.note) == (providers.CPU, "Not on CUDA: CUDA failure 101: invalid device ordinal")
    with pytest.raises(ExportError, match="m cannot run on cuda:1: CUDA failure 101: invalid device ordinal") as caught:
        open_session(MODEL, name="m", device="cuda:1")
    assert "zoo doctor" in caught.value.hint
    with pytest.raises(ExportError, match="m cannot be opened: it is no ONNX file"):
        open_session(b"\xff", name="m", device="cuda")


def test_a_gpu_that_fails_at_its_first_run_is_left_for_the_cpu_or_told(monkeypatch):
    """An old GPU, or one without memory left, lets itself be opened."""
    opened = session.open_session(MODEL, name="m", device="cpu")
    broken = session.Session(runtime=opened.runtime, provider=providers.CUDA)

    def open_broken(source, *, name, device, threads):
        return opened if device == "cpu" else broken

    def run(of, outputs, feed, *, name):
        if of.provider == providers.CUDA:
            raise ExportError("m fails on CUDAExecutionProvider: no kernel image.")
        return session.run(of, outputs, feed, name=name)

    monkeypatch.setattr(predictor, "open_session", open_broken)
    monkeypatch.setattr(predictor, "run", run)
    with pytest.raises(ExportError, match="no kernel image"):
        load(MODEL, device="cuda")
    told = load(MODEL)
    assert told.provider == providers.CPU
    assert told.notes == ("m fails on CUDAExecutionProvider: no kernel image.",)
    assert told.predict(PHOTO).label == "red"


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives():
    if found := providers.cuda_obstacle():
        pytest.skip(found.reason)
    cuda, cpu = load(MODEL, device="cuda"), load(MODEL, device="cpu")
    assert cuda.provider == providers.CUDA
    assert load(MODEL).provider == providers.CUDA
    images = [cuda.read(PHOTO, name="x")] * 3
    np.testing.assert_allclose(cuda.probabilities(images), cpu.probabilities(images), atol=1e-5)
