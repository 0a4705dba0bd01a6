"""The reports of a card as text, whatever they contain."""

import pytest

from zoo_export.commands.formatting import format_gain, format_parity

GAIN = {"photos": 200, "fp32_accuracy": 0.9, "accuracy": 0.895, "provider": "CPUExecutionProvider", "speedup": 2.75}


@pytest.mark.parametrize(
    "parity", [{"verified": True}, {"verified": True, "providers": 3, "batches": "x", "tolerance": "y"}, {}]
)
def test_any_report_gives_a_line(parity):
    assert format_parity(parity)


def test_gain_is_one_line():
    assert format_gain(None) == ""
    assert format_gain(GAIN) == ("accuracy 89.5 % on 200 photos (fp32: 90.0 %); 2.8 times the throughput on CPU")
    assert format_gain({"accuracy": "high"}) == ("accuracy ? on ? photos (fp32: ?); ? times the throughput on ?")
