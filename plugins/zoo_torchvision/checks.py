"""Checks that torchvision fits torch, and that its weights can be had."""

from __future__ import annotations

from zoo.plugins.servers import check_server
from zoo.plugins.specs import Finding

_TOGETHER = "Install the two together: pip install --force-reinstall torch torchvision"
_SERVER = "https://download.pytorch.org"


def check() -> list[Finding]:
    """Computes with one of torchvision's own operators, which a torch of another version cannot."""
    return [_library(), check_server(_SERVER, about="pytorch.org")]


def _library() -> Finding:
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    except ModuleNotFoundError as error:
        text, advice = f"cannot be used without {error.name}", "To train, install torch and torchvision together."
        return Finding(about="torchvision", status="warning", text=text, advice=advice)
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Finding(about="torchvision", status="problem", text=f"cannot be used: {reason}", advice=_TOGETHER)
    if kept != [0, 2]:
        return Finding(about="torchvision", status="problem", text="it computes wrongly", advice=_TOGETHER)
    return Finding(about="torchvision", status="ok", text=f"{torchvision.__version__}, its operators fit torch")
