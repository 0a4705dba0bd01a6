"""Folders of files that are named like photos, and a machine without pillow-heif."""

from PIL import Image

from zoo.data.images import decode, formats

JPEG = b"\xff\xd8\xff\xe0 pixels"


def fill(root, *names, content=b"pixels"):
    """Writes files of these names, with the folders that they need, and returns the root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def both(pattern, count=1, classes=("cat", "dog")):
    """Returns names of photos of some classes: ``both("train/{}")`` starts with ``train/cat/0.jpg``."""
    return [f"{pattern.format(label)}/{number}.jpg" for label in classes for number in range(count)]


def remove_pillow_heif(monkeypatch):
    """Makes HEIC photos unreadable, as where pillow-heif is not installed."""
    decode._formats()  # stores what it finds, for the tests that follow
    for module in (formats, decode):
        monkeypatch.setattr(module, "reads_heic", lambda: False)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(decode, "_formats", decode._formats.__wrapped__)
