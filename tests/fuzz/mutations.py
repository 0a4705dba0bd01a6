"""Spoils the content of files: bytes are changed, cut, repeated and mixed; values of JSON are exchanged."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

# From a generator of random numbers, the content of a file, and of others of its kind, to what is tried.
Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -1e-320),
    *("", "a", "\n", "a\0b", "\x1b[31m", "\ud800", "\u202e", "<b>", "9" * 5000, "x" * 100_000),
    *("../x", "../../x", "/etc/passwd", "/dev/zero", "~", "os.system"),
    *([], {}, [[]], [None] * 3, {"": ""}, {"a": {"b": {"c": []}}}, ["a", "a"], [1e308, float("nan")]),
)


def scramble(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Changes some bytes of a file, in one to four ways."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        random.choice(_WAYS)(random, data, others)
    return bytes(data)


def spoil_json(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Exchanges, drops or repeats values of JSON; now and then it changes bytes instead."""
    if random.random() < 0.3:
        return scramble(random, content, others)
    value = json.loads(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _exchanged(random, value)
    return json.dumps(value, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass")


def spoil_lines(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Does `spoil_json` to one line of several."""
    lines = content.splitlines()
    place = random.randrange(len(lines))
    try:
        lines[place] = spoil_json(random, lines[place], [line for other in others for line in other.splitlines()])
    except ValueError:  # not a line of JSON
        lines[place] = scramble(random, lines[place], others)
    return b"\n".join(lines) + b"\n"


def spoil_png(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Changes bytes; of a PNG it then mends the checksums, behind which the decoder would never look."""
    data = scramble(random, content, others)
    return _with_checksums(data) if content.startswith(b"\x89PNG") and random.random() < 0.8 else data


def spoil_safetensors(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Exchanges values of the header, and gives it its new length; now and then it changes bytes instead."""
    if random.random() < 0.4:
        return scramble(random, content, others)
    (length,) = struct.unpack_from("<Q", content)
    header = spoil_json(random, content[8 : 8 + length], [])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def spoil_members(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Changes one member of a ZIP archive, and packs all anew; now and then it changes bytes of the whole."""
    if not zipfile.is_zipfile(io.BytesIO(content)) or random.random() < 0.4:
        return scramble(random, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    chosen = random.choice(members)
    if random.random() < 0.2:
        chosen[0] = random.choice(("../x", "/x", "a\\..\\b", "NUL", "x" * 300, members[0][0]))
    else:
        chosen[1] = scramble(random, chosen[1], [body for _, body in members])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body)
    return buffer.getvalue()


def spoil_graph(random: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Changes values of an ONNX graph that stays one to its reader: sizes, types, operators, attributes, edges."""
    import onnx

    made = onnx.load_model_from_string(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        node, tensor = random.choice(made.graph.node), random.choice(made.graph.initializer)
        names = [name for each in made.graph.node for name in (*each.input, *each.output)]
        number = random.choice((-(1 << 63), -1, 0, 1, 2, 3, 5, 1 << 20, 1 << 31, (1 << 63) - 1))
        match random.randrange(6):
            case 0 if tensor.dims:
                tensor.dims[random.randrange(len(tensor.dims))] = number
            case 1:
                tensor.data_type = random.randrange(30)
            case 2:
                tensor.raw_data = scramble(random, tensor.raw_data, [])
            case 3:
                node.op_type = random.choice(made.graph.node).op_type
            case 4 if node.input:
                node.input[random.randrange(len(node.input))] = random.choice(names)
            case _ if node.attribute:
                random.choice(node.attribute).i = number
    return bytes(made.SerializeToString())


def _exchanged(random: random.Random, value: Any) -> Any:
    """Returns a value with one of those inside it exchanged, dropped or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        if random.random() < 0.12:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _exchanged(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.7:
        place = random.randrange(len(value))
        if random.random() < 0.1:
            return value * random.choice((2, 500))
        return [*value[:place], _exchanged(random, value[place]), *value[place + 1 :]]
    return random.choice(_ODD)


def _with_checksums(png: bytes) -> bytes:
    mended, place = bytearray(png[:8]), 8
    while place + 8 <= len(png):
        length = int.from_bytes(png[place : place + 4])
        body = png[place + 4 : place + 8 + length]
        if len(body) < 4 + length:
            break
        mended += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(mended) + png[place:]


def _span(random: random.Random, data: bytes | bytearray, longest: int = 200) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randrange(1, longest))


def _place(random: random.Random, data: bytearray) -> int:
    """Returns a place in it, more often one near its beginning, where most files tell what they are."""
    return random.randrange(max(1, len(data) if random.random() < 0.5 else min(len(data), 200)))


def _flip(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(random.choice((1, 2, 8))):
        if data:
            data[_place(random, data)] ^= 1 << random.randrange(8)


def _set_number(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    size = random.choice((1, 2, 4, 8))
    number = random.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    place = _place(random, data)
    data[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))


def _cut(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    del data[start:end]


def _end(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _repeat(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    data[start:start] = data[start:end] * random.choice((1, 2, 30))


def _insert(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = random.randrange(len(data) + 1)
    data[start:start] = random.randbytes(random.randrange(1, 60))


def _fill(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _span(random, data, 2000)
    data[start:end] = bytes([random.choice((0, 0xFF, 0x20))]) * (end - start)


def _splice(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others) if others else bytes(data)
    start, end = _span(random, other, max(2, len(other)))
    place = random.randrange(len(data) + 1)
    data[place : place + (end - start if random.random() < 0.5 else 0)] = other[start:end]


def _exchange_number(random: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Of numbers that are written as text."""
    found = list(re.finditer(rb"\d+", bytes(data)))
    if found:
        match = random.choice(found)
        data[match.start() : match.end()] = random.choice((b"0", b"-1", b"65536", b"4294967296", b"9" * 40, b"1e999"))


_WAYS = (_flip, _flip, _set_number, _set_number, _cut, _end, _repeat, _insert, _fill, _splice, _exchange_number)
