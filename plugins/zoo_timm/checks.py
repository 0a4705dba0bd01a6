"""Checks that timm can build networks, and that its weights can be had."""

from __future__ import annotations

from zoo.plugins.servers import check_server
from zoo.plugins.specs import Finding


def check() -> list[Finding]:
    """Builds a network with timm."""
    try:
        import timm
        import torch

        network = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
        with torch.inference_mode():
            shape = tuple(network(torch.zeros(1, 3, 64, 64)).shape)
    except ModuleNotFoundError as error:
        text, advice = f"cannot be used without {error.name}", "To train its networks, install torch and timm."
        return [Finding(about="timm", status="warning", text=text, advice=advice)]
    except (ImportError, OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        advice = "Install it again: pip install --force-reinstall --no-deps timm"
        return [Finding(about="timm", status="problem", text=f"cannot be used: {reason}", advice=advice)]
    from huggingface_hub import constants

    found = Finding(about="timm", status="ok", text=f"{timm.__version__}; a network gives {shape}")
    if constants.HF_HUB_OFFLINE:
        text = "not asked: HF_HUB_OFFLINE is set; weights must be in the cache"
        return [found, Finding(about="Hugging Face", status="ok", text=text)]
    return [found, check_server(constants.ENDPOINT, about="Hugging Face")]
