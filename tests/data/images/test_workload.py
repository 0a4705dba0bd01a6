"""What decoding takes is estimated before it begins: too much is refused, and all photos share one budget."""

import subprocess
import sys
import threading
import time

import pytest
from PIL import Image, ImageCms
from problem_images import encode, make_jpeg2000, make_scene, make_tiff_with_tile

from zoo.data.images import decode as decode_module
from zoo.data.images import workload
from zoo.data.images.decode import decode, open_header
from zoo.data.images.jpeg2000 import count_segments, estimate_decoding
from zoo.data.images.workload import MAX_MEMORY, MemoryBudget, estimate_workload
from zoo.errors import ImageError

MEBIBYTE = 1 << 20
# Decodes the file in argv[1] and prints its estimate, and by how much the peak of the process grew, in bytes.
MEASURE = """
import sys, numpy as np
from pathlib import Path
from zoo.data.images import decode as module
found = []
estimate = module.estimate_workload
module.estimate_workload = lambda *args: found.append(estimate(*args)) or found[-1]
module.decode(Path(sys.argv[1]))
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10
Path("/proc/self/clear_refs").write_text("5")
before = peak()
module.decode(Path(sys.argv[2]))
print(found[-1].memory, peak() - before)
"""


def estimate(data: bytes, *, draft: int = 1) -> workload.Workload:
    with open_header(data) as image:
        size = image.size
        if draft > 1:
            image.draft(None, (size[0] // draft, size[1] // draft))
        return estimate_workload(image, data, size)


@pytest.mark.skipif(sys.platform != "linux", reason="The peak of a process can be reset on Linux only.")
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGBA", "PNG", {"compress_level": 1}),
        ("RGB", "JPEG2000", {"codeblock_size": (4, 4), "num_resolutions": 1}),
        ("RGB", "WEBP", {"lossless": True, "method": 0, "quality": 0}),
    ],
    ids=["png", "jpeg2000", "webp"],
)
def test_decoding_takes_no_more_memory_than_estimated(tmp_path, mode, kind, options):
    side = 700 if kind == "JPEG2000" else 3000
    (tmp_path / "small.png").write_bytes(encode(make_scene()))
    (tmp_path / "large.img").write_bytes(encode(Image.new(mode, (side, side), "teal"), kind, **options))
    command = [sys.executable, "-c", MEASURE, tmp_path / "small.png", tmp_path / "large.img"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    estimated, measured = map(int, done.stdout.split())
    assert 0.3 * estimated < measured < estimated + 8 * MEBIBYTE


def test_a_progressive_jpeg_takes_its_coefficients_even_if_an_eighth_of_it_is_decoded():
    plain, progressive = (
        encode(Image.new("RGB", (800, 800)), "JPEG", progressive=on, subsampling=0) for on in (False, True)
    )
    assert estimate(plain, draft=8).memory == 100 * 100 * (12 + 12)
    assert estimate(progressive, draft=8).memory == 100 * 100 * (12 + 12) + 800 * 800 * 3 * 2


def test_the_planes_of_a_jpeg_count_by_their_size():
    data = encode(Image.new("RGB", (800, 800)), "JPEG", progressive=True, subsampling="4:2:0")
    assert estimate(data, draft=8).memory == 100 * 100 * (12 + 12) + 800 * 800 * 3


@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({"codeblock_size": (64, 64), "num_resolutions": 1}, 4 * 4 + 1),
        ({"codeblock_size": (4, 4), "num_resolutions": 1}, 64 * 64 + 1),
        ({"codeblock_size": (4, 4), "num_resolutions": 2}, 4 * 32 * 32 + 2),
        ({"codeblock_size": (64, 64), "num_resolutions": 1, "tile_size": (64, 64)}, 1 + 1),
    ],
)
def test_the_code_blocks_of_a_jpeg_2000_image_are_counted(options, blocks):
    data = encode(Image.new("RGB", (256, 256)), "JPEG2000", **options)
    tiles = 16 if "tile_size" in options else 1
    samples = 3 * 256 * 256 // tiles
    assert estimate_decoding(data)[0] == samples * 5 + 3 * blocks * 450 + tiles * 12_000


def test_packets_without_data_are_counted():
    """65,535 layers of 341 precincts: OpenJPEG visits 67 million packets, for minutes."""
    seconds = estimate_decoding(make_jpeg2000(1000, layers=65_535))[1]
    assert 100 < seconds < 10_000


def test_a_codestream_without_boxes_and_with_broken_headers():
    plain = encode(Image.new("RGB", (64, 64)), "JPEG2000", no_jp2=True)
    boxed = encode(Image.new("RGB", (64, 64)), "JPEG2000")
    assert estimate_decoding(plain)[0] == estimate_decoding(boxed)[0]
    assert count_segments(boxed, most=100) > count_segments(plain, most=100) > 3
    assert count_segments(boxed, most=2) == 3
    for length in range(len(plain)):
        for data in (plain[:length], boxed[:length]):
            try:
                estimate_decoding(data)
            except ValueError as error:
                assert str(error) == "the headers of its codestream are broken"  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            make_jpeg2000(1000, layers=65_535),
            r"decoding it takes about \d+ s, more than the limit of 3 s for a file of",
        ),
        (make_jpeg2000(7000), "decoding it takes about 3 s, more than the limit of 3 s for a file of its size"),
        (make_tiff_with_tile(40_000), "decoding it takes about 72 s, more than the limit of 5 s"),
    ],
    ids=["packets", "samples", "tile"],
)
def test_an_image_that_takes_long_is_refused_before_it_is_decoded(data, message):
    started = time.perf_counter()
    with pytest.raises(ImageError, match=rf"x\.img: {message}") as caught:
        decode(data, name="x.img")
    assert time.perf_counter() - started < 1
    assert caught.value.hint == "Save it as JPEG or PNG, or make the image smaller."


def test_an_image_that_takes_much_memory_is_refused_before_it_is_decoded():
    data = make_jpeg2000(5000, block=4)
    assert estimate_decoding(data)[0] > 2 * 2**30
    with pytest.raises(ImageError, match=r"decoding it takes \d\.\d GiB, more than the limit of 3"):
        decode(make_jpeg2000(6000, block=4))
    assert MAX_MEMORY == 3 << 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "TGA", "PPM"])
def test_every_simple_format_may_have_a_hundred_megapixels(kind, monkeypatch):
    data = encode(Image.new("RGB", (64, 64)), kind)
    with open_header(data) as image:
        monkeypatch.setattr(image, "_size", (10_000, 10_000))
        found = estimate_workload(image, data, image.size)
    assert found.seconds < found.limit == pytest.approx(5, abs=0.01)
    assert found.memory < MAX_MEMORY


def test_a_large_file_may_take_longer_than_a_small_one():
    data = encode(make_scene(), "PNG")
    with open_header(data) as image:
        limits = [estimate_workload(image, bytes(size * MEBIBYTE), image.size).limit for size in (0, 10, 200)]
    assert limits == [5, 7, 10]


def test_a_jpeg_2000_image_needs_bytes_for_its_pixels():
    """Three bits for ten pixels suffice, up to the limit for all files."""
    data = make_jpeg2000(8600)
    with open_header(data) as image:
        small = estimate_workload(image, data, image.size)
        photo = estimate_workload(image, data + bytes(int(8600**2 * 0.3 / 8)), image.size)
    assert small.seconds > small.limit == pytest.approx(3, abs=0.01)
    assert photo.seconds < photo.limit


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_conversion_of_colours_takes_time(kind):
    image = Image.new("RGB", (64, 64))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = srgb.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    plain, profiled, free = (encode(image, kind, icc_profile=profile) for profile in (b"", renamed, srgb))
    found = []
    for data in (plain, profiled, free):
        with open_header(data) as opened:
            found.append(estimate_workload(opened, b"", opened.size).seconds)
    assert found[1] - found[0] == pytest.approx(64 * 64 * 2.5e-8)
    assert found[2] == pytest.approx(found[0])


def test_every_scan_of_a_jpeg_takes_time():
    data = encode(make_scene(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xc4") : -2]  # its table of codes included
    more = data[:-2] + 50 * last + b"\xff\xd9"
    with open_header(data) as image, open_header(more) as other:
        pixels = image.width * image.height
        added = estimate_workload(other, more, other.size).seconds - estimate_workload(image, data, image.size).seconds
    assert added == pytest.approx(50 * 3e-10 * pixels)


def test_threads_never_reserve_more_than_the_budget():
    budget, lock, now, most = MemoryBudget(10), threading.Lock(), 0, 0

    def work(pixels: int) -> None:
        nonlocal now, most
        for _ in range(50):
            with budget.reserve(pixels):
                with lock:
                    now += min(pixels, 10)
                    most = max(most, now)
                time.sleep(0)
                with lock:
                    now -= min(pixels, 10)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (1, 3, 4, 7, 10, 99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert 1 < most <= 10


def test_small_images_do_not_starve_a_large_one():
    budget, order = MemoryBudget(10), []

    def reserve(name: str, pixels: int) -> threading.Thread:
        def work() -> None:
            with budget.reserve(pixels):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        return thread

    with budget.reserve(5):
        threads = [reserve("large", 10), reserve("small", 1)]
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["large", "small"]


def test_memory_is_released_when_decoding_fails(monkeypatch):
    monkeypatch.setattr(decode_module, "_decoders", MemoryBudget(1))
    broken = encode(make_scene())[:-60]
    for _ in range(3):
        with pytest.raises(ImageError):
            decode(broken)
    assert decode(encode(make_scene())).shape == (40, 60, 3)
