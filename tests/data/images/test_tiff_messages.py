import io
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from zoo.data.images import tiff_messages
from zoo.data.images.decode import convert_image, decode
from zoo.errors import ImageError, ImageWarning

pytestmark = pytest.mark.skipif(
    tiff_messages._install_handler() is None, reason="Pillow contains a libtiff whose functions have no names"
)


def tiff(compression, *, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "TIFF", compression=compression)
    return file.getvalue()


def damaged(compression, *, mode="RGB"):
    """Returns a TIFF in whose pixels some bytes are overwritten."""
    content = bytearray(tiff(compression, mode=mode))
    with Image.open(io.BytesIO(content)) as image:
        start = image.tag_v2[273][0]
    content[start + 100 : start + 108] = bytes(range(248, 256))
    return bytes(content)


def test_a_photo_that_is_damaged_but_readable_is_a_warning_that_names_it(capfd):
    with pytest.warns(ImageWarning) as caught:
        pixels = decode(damaged("group4", mode="1"), name="scan.tif")
    assert pixels.shape == (64, 64, 3)
    assert str(caught[0].message).startswith("scan.tif: the image is damaged (Fax4Decode: Bad code word at line ")
    assert len(caught) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("compression", "reason"),
    [("tiff_lzw", "code not yet in table"), ("tiff_adobe_deflate", "ZIPDecode: Decoding error at scanline ")],
)
def test_the_reason_why_a_photo_is_unreadable_is_what_libtiff_says(capfd, compression, reason):
    with pytest.raises(ImageError) as caught:
        decode(damaged(compression), name="photo.tif")
    assert caught.value.message.startswith("photo.tif: the image is broken (")
    assert reason in caught.value.message
    assert "tempfile.tif" not in caught.value.message
    assert capfd.readouterr().err == ""


def test_a_pillow_image_that_is_not_loaded_yet_is_treated_alike(capfd):
    with (
        Image.open(io.BytesIO(damaged("group4", mode="1"))) as image,
        pytest.warns(ImageWarning, match=r"^scan\.tif: "),
    ):
        convert_image(image, name="scan.tif")
    assert capfd.readouterr().err == ""


def test_every_thread_gets_the_messages_of_its_own_photo(capfd):
    """The sound photos are decoded beside damaged ones, and none of them is blamed."""
    sound, broken, found = tiff("group4", mode="1"), damaged("group4", mode="1"), []

    def decode_many(name, content):
        for index in range(20):
            decode(content, name=f"{name}-{index}.tif")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: found.append(str(message).partition(":")[0])
        threads = [
            threading.Thread(target=decode_many, args=(name, broken if name.startswith("broken") else sound))
            for name in ("broken-a", "sound-a", "broken-b", "sound-b")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(f"broken-{letter}-{index}.tif" for letter in "ab" for index in range(20))
    assert capfd.readouterr().err == ""


def test_other_users_of_pillow_still_see_what_libtiff_prints(capfd):
    with Image.open(io.BytesIO(damaged("group4", mode="1"))) as image:
        image.load()
    assert "Fax4Decode: Bad code word" in capfd.readouterr().err
