"""Formats of photos: HEIC is read where pillow-heif is installed; what cannot be read is named."""

import io

import numpy as np
import pytest
from photo_folders import remove_pillow_heif
from PIL import Image
from problem_images import encode, make_scene

from zoo.data.images.decode import decode
from zoo.data.images.formats import START, has_image_suffix, starts_like_photo, unreadable_format
from zoo.errors import ImageError


@pytest.fixture
def heic():
    """Encodes an image as HEIC."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()

    def encode_heic(image, **options):
        buffer = io.BytesIO()
        image.save(buffer, "HEIF", quality=95, **options)
        return buffer.getvalue()

    return encode_heic


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_a_heic_photo_is_decoded_upright(heic, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene = make_scene((96, 64))
    actual, expected = decode(heic(scene, exif=exif.tobytes())), decode(encode(scene, exif=exif))
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).mean() < 4


def test_a_heic_photo_without_exif_data_and_with_transparency_is_decoded(heic):
    clear = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    assert (decode(heic(clear)) == 255).all()


def test_the_thumbnail_in_a_heic_photo_is_never_taken_for_the_photo(heic):
    data = heic(make_scene((1024, 768)), thumbnails=[512])
    assert decode(data, min_side=100).shape == (768, 1024, 3)


def test_a_broken_heic_photo_is_called_broken(heic):
    data = heic(make_scene())
    with pytest.raises(ImageError, match=r"1\.heic: the HEIC photo is broken"):
        decode(data[: len(data) // 3], name="1.heic")


def test_without_pillow_heif_the_error_says_what_to_do(heic, monkeypatch):
    data = heic(make_scene())
    remove_pillow_heif(monkeypatch)
    with pytest.raises(ImageError, match=r"1\.heic: HEIC photos cannot be read; save it as JPEG\.") as caught:
        decode(data, name="1.heic")
    assert caught.value.hint == "Save them as JPEG, or install pillow-heif: pip install pillow-heif."
    assert not has_image_suffix("1.HEIC")
    assert unreadable_format("1.HEIC") == "HEIC"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"v/1\x01\x02\0\0\0", "OpenEXR"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
    ],
)
def test_photos_in_other_formats_are_named_whatever_they_are_called(start, name):
    with pytest.raises(ImageError, match=rf"a\.jpg: {name} photos cannot be read; save it as JPEG\.") as caught:
        decode(start + bytes(100), name="a.jpg")
    assert caught.value.hint == "Save them as JPEG."
    assert starts_like_photo((start + bytes(100))[:START])


def test_the_name_says_the_format_if_the_content_does_not():
    with pytest.raises(ImageError, match=r"a\.NEF: RAW photos cannot be read; save it as JPEG\.") as caught:
        decode(b"II*\0" + bytes(8) + b"raw", name="a.NEF")
    assert caught.value.hint == "Save them as JPEG."


@pytest.mark.parametrize(
    ("name", "unreadable"), [("a.NEF", "RAW"), ("a.jxl", "JPEG XL"), ("a.psd", "Photoshop"), ("a.txt", ""), ("a", "")]
)
def test_formats_by_suffix(name, unreadable):
    assert unreadable_format(name) == unreadable
    assert not has_image_suffix(name)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_photos_are_recognised_by_their_first_bytes(format):
    assert starts_like_photo(encode(make_scene(), format)[:START])
    assert not starts_like_photo(b"words, words")
