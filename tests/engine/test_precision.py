import pytest
import torch

from zoo.engine.precision import choose_device, choose_precision
from zoo.errors import ConfigError

CPU = torch.device("cpu")


def test_auto_takes_the_fastest_device_there_is():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "quantum", "cuda:x"])
def test_a_device_that_does_not_exist_is_told(name):
    with pytest.raises(ConfigError, match=f"option 'device' is '{name}'"):
        choose_device(name)


def test_a_missing_gpu_is_told_and_the_cpu_does_not_stand_in():
    with pytest.raises(
        ConfigError, match=r"option 'device' is 'cuda:99', but torch .* sees \d+ CUDA devices"
    ) as caught:
        choose_device("cuda:99")
    assert "--device cpu" in caught.value.hint


def test_a_device_of_torch_that_this_machine_lacks_is_told():
    with pytest.raises(ConfigError, match="'meta', which this machine does not have"):
        choose_device("meta")


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(ConfigError, match="option 'precision' is 'fp16'") as caught:
        choose_precision("fp16", CPU)
    assert "bf16" in caught.value.hint


def test_auto_takes_bf16_only_where_it_is_fast(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert choose_precision("auto", CPU).name == "bf16"
    assert "AMX" in choose_precision("auto", CPU).reason
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert choose_precision("auto", CPU).name == "fp32"


def test_a_forward_pass_is_computed_in_the_precision_asked_for():
    a = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        precision = choose_precision(name, CPU)
        with precision.autocast():
            assert (a @ a).dtype == dtype
        assert not precision.scales_loss
    assert (a @ a).dtype == torch.float32
