import pytest
import torch

from zoo.errors import ConfigError
from zoo.models.precision import candidates, choose_device, choose_precision

CPU = torch.device("cpu")


def test_auto_selects_the_fastest_available_device():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "quantum", "cuda:x"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match=f"option 'device' is '{name}'"):
        choose_device(name)


def test_a_missing_gpu_is_refused_without_a_fallback_to_the_cpu():
    with pytest.raises(
        ConfigError, match=r"option 'device' is 'cuda:99', but torch .* sees \d+ CUDA devices"
    ) as caught:
        choose_device("cuda:99")
    assert "--device cpu" in caught.value.hint


def test_a_device_that_this_machine_lacks_is_refused():
    with pytest.raises(ConfigError, match="'meta', which this machine does not have"):
        choose_device("meta")


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(ConfigError, match="option 'precision' is 'fp16'") as caught:
        choose_precision("fp16", CPU)
    assert "bf16" in caught.value.hint


def test_the_candidates_depend_on_the_instructions_of_the_cpu(monkeypatch):
    for amx, avx512, expected in ((True, False, 2), (False, True, 2), (False, False, 1)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx512=avx512: avx512)
        assert candidates(CPU) == ("bf16", "fp32")[-expected:]
        assert choose_precision("auto", CPU).name == candidates(CPU)[0]
        assert choose_precision("auto", CPU).reason


@pytest.mark.parametrize(("capability", "names"), [((9, 0), ("bf16", "tf32")), ((7, 5), ("fp16", "fp32"))])
def test_the_candidates_depend_on_the_gpu(monkeypatch, capability, names):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert candidates(torch.device("cuda", 0)) == names
    assert candidates(torch.device("mps")) == ("fp32",)


def test_tf32_requires_a_gpu_that_has_it(monkeypatch):
    with pytest.raises(ConfigError, match="'precision' is 'tf32', which cpu does not have") as caught:
        choose_precision("tf32", CPU)
    assert "fp32" in caught.value.hint
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(ConfigError, match="which cuda:0 does not have"):
        choose_precision("tf32", gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert choose_precision("tf32", gpu).name == "tf32"


def test_a_forward_pass_uses_the_requested_precision():
    a = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        precision = choose_precision(name, CPU)
        with precision.autocast():
            assert (a @ a).dtype == dtype
        assert not precision.scales_loss
    assert (a @ a).dtype == torch.float32
