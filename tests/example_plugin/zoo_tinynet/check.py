"""A check of what the plugin needs. Imports torch, so it is imported when 'zoo doctor' runs it."""

from __future__ import annotations

import torch

import zoo


def run() -> list[zoo.Finding]:
    """Returns how many threads torch uses."""
    return [zoo.Finding(about="tinynet", status="ok", text=f"{torch.get_num_threads()} threads")]
