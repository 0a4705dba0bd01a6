import contextlib
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from problem_images import STORED, encode, make_png
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from zoo.data.images import decode as image_module
from zoo.data.images import resize as resize_module
from zoo.data.images.decode import convert_image, decode, open_image
from zoo.data.images.formats import reads_heic
from zoo.data.images.resize import preprocess
from zoo.errors import ImageError
from zoo.preprocess import Preprocess

PROBLEMS = Path(os.environ.get("ZOO_TEST_DATA", "/nonexistent")) / "problem_images"


def photo(width: int, height: int, *, seed: int = 0) -> np.ndarray:
    """Low frequencies and noise, so that a resize that is off by half a pixel is detected."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noise = np.random.default_rng(seed + 1).integers(-40, 40, (height, width, 3))
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def corners() -> Image.Image:
    """30 x 20, one colour per corner: red, green, blue, white, clockwise from the top left."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15], pixels[:10, 15:] = (255, 0, 0), (0, 255, 0)
    pixels[10:, 15:], pixels[10:, :15] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def test_pixels_are_uint8_rgb_and_writable(tmp_path):
    pixels = photo(13, 7)
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(pixels)))
    decoded = decode(tmp_path / "a.png")
    assert decoded.dtype == np.uint8
    assert decoded.shape == (7, 13, 3)
    assert decoded.flags.writeable
    assert np.array_equal(decoded, pixels)
    assert np.array_equal(decode((tmp_path / "a.png").read_bytes()), pixels)
    assert open_image(tmp_path / "a.png").mode == "RGB"


def test_an_open_image_is_converted_like_its_file():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(corners(), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        pixels = convert_image(image)
        assert np.array_equal(pixels, decode(data))
        assert pixels.flags.writeable
        assert image.size == (30, 20)
        with pytest.raises(ImageError, match="a: it has 30 x 20 pixels, more than the limit of 500 pixels"):
            convert_image(image, name="a", max_pixels=500)
    with pytest.raises(ImageError, match="image: the image is empty"):
        convert_image(Image.new("RGB", (3, 0)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation, format):
    upright = corners()
    stored = upright.transpose(STORED[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(decode(encode(stored, format, exif=exif, **options)), np.asarray(upright))


BROKEN_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x09"


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", BROKEN_EXIF, b"", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_is_ignored(exif):
    assert decode(encode(corners(), "JPEG", exif=exif)).shape == (20, 30, 3)


def test_an_orientation_out_of_range_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 42
    assert np.array_equal(decode(encode(corners(), exif=exif)), np.asarray(corners()))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(format):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode(encode(first, format, save_all=True, append_images=[second], **options))
    assert decoded.tolist() == [[[255, 0, 0]] * 8] * 8


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: the file is empty"):
        decode(tmp_path / "empty.jpg")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><html>404", "web page"),
        (b'<?xml version="1.0"?><svg></svg>', "SVG"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"\0" * 100, "contains only zeros"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_a_file_that_is_not_an_image_is_named_and_described(data, reason):
    with pytest.raises(ImageError, match=rf"pic\.jpg: .*{reason}"):
        decode(data, name="pic.jpg")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_image_is_refused(format):
    data = encode(Image.fromarray(photo(64, 64)), format)
    with pytest.raises(ImageError, match=r"cut\.img: "):
        decode(data[: len(data) // 2], name="cut.img")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO"])
def test_flipped_bytes_end_in_pixels_or_in_an_image_error(format):
    data = encode(Image.fromarray(photo(32, 32)), format)
    random = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(data)
        for place in random.integers(0, len(data), 4):
            broken[place] = random.integers(0, 256)
        # Anything but an ImageError ends the test.
        with contextlib.suppress(ImageError):
            assert decode(bytes(broken), name="x", max_pixels=10**6).ndim == 3


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="not a file"):
        decode(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(ImageError, match=r"pipe\.jpg: not a file"):
            decode(tmp_path / "pipe.jpg")


def test_pixels_and_bytes_are_limited_before_decoding(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"big: it has 20 x 30 pixels, more than the limit of 599 pixels"):
        decode(encode(Image.new("RGB", (20, 30))), name="big", max_pixels=599)
    started = time.perf_counter()
    with pytest.raises(ImageError, match="pixels, more than the limit"):
        decode(make_png(60_000, 60_000, b""), name="bomb")
    with pytest.raises(ImageError, match="13000 x 13000 pixels"):
        decode(make_png(13_000, 13_000, b""), name="half a bomb")
    assert time.perf_counter() - started < 1
    monkeypatch.setattr(image_module, "MAX_BYTES", 2**20)
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(ImageError, match="it has 3 MiB, more than the limit of 1 MiB"):
        decode(tmp_path / "sparse.png")


def test_a_bomb_in_the_metadata_is_refused():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 70_000_000, zip=True)
    with pytest.raises(ImageError, match="too large"):
        decode(encode(Image.new("RGB", (4, 4)), pnginfo=info), name="text bomb")


def test_warnings_of_pillow_are_silenced_in_every_thread():
    palette = Image.new("P", (64, 64))
    palette.putpalette([10, 20, 30] * 2)
    noisy = [encode(palette, transparency=b"\x00\xff"), encode(corners(), "JPEG", exif=BROKEN_EXIF)]
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(noisy[1])).getexif().get(1)
    barrier = threading.Barrier(8)

    def work(index: int) -> int:
        barrier.wait()
        return sum(decode(noisy[(index + turn) % 2]).ndim for turn in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [60] * 8


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (256, 256), (97, 301), (231, 232), (60, 41), (1, 1), (3, 200)]
)
@pytest.mark.parametrize(("crop", "resize"), [((224, 224), 256), ((224, 224), 224), ((99, 64), 71), ((65, 128), 100)])
def test_shorter_is_torchvision_to_the_bit(size, crop, resize, interpolation):
    pixels = photo(*size)
    reference = Resize(resize, interpolation=InterpolationMode(interpolation))(Image.fromarray(pixels))
    reference = CenterCrop(crop)(reference)
    spec = Preprocess(size=crop, resize=resize, interpolation=interpolation)
    assert np.array_equal(preprocess(pixels, spec), np.asarray(reference))


def test_sizes_are_torchvisions_for_every_aspect():
    for length in range(200, 800, 7):
        pixels = np.zeros((200, length, 3), np.uint8)
        pixels[:, : length // 3] = 255
        reference = CenterCrop(64)(Resize(71)(Image.fromarray(pixels)))
        assert np.array_equal(preprocess(pixels, Preprocess(size=(64, 64), resize=71)), np.asarray(reference)), length


def test_squash_is_torchvision_to_the_bit():
    pixels = photo(500, 375)
    spec = Preprocess(size=(64, 96), resize=64, resize_mode="squash")
    assert np.array_equal(preprocess(pixels, spec), np.asarray(Resize((64, 96))(Image.fromarray(pixels))))


def test_longer_is_padded_with_the_mean_colour():
    pixels = np.full((50, 100, 3), 200, np.uint8)
    spec = Preprocess(size=(64, 64), resize=64, resize_mode="longer", mean=(0.5, 0.25, 1.0))
    result = preprocess(pixels, spec)
    assert result.shape == (64, 64, 3)
    assert (result[16:48] == 200).all()
    assert (result[:16] == (128, 64, 255)).all()
    assert (result[48:] == (128, 64, 255)).all()


def test_a_long_strip_is_cropped_to_its_middle_in_little_memory():
    strip = np.zeros((1, 100_000, 3), np.uint8)
    strip[:, 49_990:50_010] = 255
    started = time.perf_counter()
    result = preprocess(strip, Preprocess(size=(224, 224), resize=256))
    assert (result == 255).all()
    assert time.perf_counter() - started < 1


def test_a_strip_just_over_the_limit_matches_torchvision(monkeypatch):
    pixels = photo(64, 6400)
    monkeypatch.setattr(resize_module, "_MAX_RESIZED_PIXELS", 10_000)
    reference = np.asarray(CenterCrop(32)(Resize(32)(Image.fromarray(pixels)))).astype(int)
    assert np.abs(preprocess(pixels, Preprocess(size=(32, 32), resize=32)) - reference).max() <= 1


@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="needs the real problem images (ZOO_TEST_DATA)")
def test_every_problem_image_is_decoded_or_refused_with_its_name():
    spec = Preprocess(size=(224, 224), resize=256)
    decoded, refused = 0, []
    for path in sorted(path for path in PROBLEMS.rglob("*") if path.is_file() and path.suffix != ".tsv"):
        started = time.perf_counter()
        try:
            decoded += preprocess(decode(path), spec).shape == (224, 224, 3)
        except ImageError as error:
            refused.append(path.name in str(error))
        assert time.perf_counter() - started < 10, path
    assert (decoded, refused) == (96 + reads_heic(), [True] * (24 - reads_heic()))


def large_jpeg(*, mode="RGB", size=(640, 480), exif=None):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    smooth.resize(size, Image.Resampling.BICUBIC).convert(mode).save(buffer, "JPEG", quality=95, exif=exif or b"")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    ("min_side", "shape"), [(480, (480, 640)), (241, (480, 640)), (240, (240, 320)), (50, (60, 80))]
)
def test_a_large_jpeg_may_be_decoded_at_a_fraction_of_its_size(mode, min_side, shape):
    data = large_jpeg(mode=mode)
    pixels = decode(data, min_side=min_side)
    assert pixels.shape == (*shape, 3)
    whole = np.asarray(Image.fromarray(decode(data)).resize(shape[::-1], Image.Resampling.BOX))
    assert np.abs(pixels.astype(int) - whole).mean() < 1


def test_a_reduced_jpeg_is_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(large_jpeg(exif=exif), min_side=100).shape == (160, 120, 3)


@pytest.mark.parametrize(
    ("size", "shape"), [((636, 484), (121, 159)), ((638, 480), (240, 319)), ((637, 480), (480, 637))]
)
def test_a_divisor_that_would_shift_the_content_is_not_used(size, shape):
    """The decoder rounds up: its result would show slightly more than the photo, and so be shifted."""
    assert decode(large_jpeg(size=size), min_side=60).shape == (*shape, 3)


def test_only_jpegs_are_decoded_at_a_fraction_of_their_size():
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), min_side=10).shape == (480, 640, 3)
