"""What is drawn during a test."""

import pytest
from matplotlib.figure import Figure
from PIL import ImageDraw


@pytest.fixture
def figures(monkeypatch):
    """The figures saved during a test, to look into."""
    seen, save = [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        seen.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return seen


@pytest.fixture
def written(monkeypatch):
    """The texts drawn during a test."""
    seen, draw = [], ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        seen.append(text)
        return draw(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return seen
