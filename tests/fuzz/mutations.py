"""Mutates file contents: changes, cuts, repeats and mixes bytes, and replaces JSON values."""

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

# Takes a random number generator, the content of a file and the contents of others of its kind; returns new content.
Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

_BOUNDARY_NUMBERS = (
    *(0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
    *(1 << 63, (1 << 64) - 1),
)
_UNUSUAL_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -1e-320),
    *("", "a", "\n", "a\0b", "\x1b[31m", "\ud800", "\u202e", "<b>", "9" * 5000, "x" * 100_000),
    *("../x", "../../x", "/etc/passwd", "/dev/zero", "~", "os.system"),
    *([], {}, [[]], [None] * 3, {"": ""}, {"a": {"b": {"c": []}}}, ["a", "a"], [1e308, float("nan")]),
)


def mutate_bytes(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Applies one to four byte mutations to a file."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice(_BYTE_MUTATIONS)(rng, data, others)
    return bytes(data)


def mutate_json(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Replaces, drops or repeats JSON values; sometimes mutates bytes instead."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, content, others)
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _replace_value(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")


def mutate_lines(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Applies `mutate_json` to one line."""
    lines = content.splitlines()
    position = rng.randrange(len(lines))
    try:
        lines[position] = mutate_json(rng, lines[position], [line for other in others for line in other.splitlines()])
    except ValueError:  # not a line of JSON
        lines[position] = mutate_bytes(rng, lines[position], others)
    return b"\n".join(lines) + b"\n"


def mutate_png(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Mutates bytes. Usually repairs a PNG's checksums, because decoders stop at a wrong one."""
    data = mutate_bytes(rng, content, others)
    return _fix_checksums(data) if content.startswith(b"\x89PNG") and rng.random() < 0.8 else data


def mutate_safetensors(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Mutates the values of the header and updates its length; sometimes mutates bytes instead."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, content, others)
    (length,) = struct.unpack_from("<Q", content)
    header = mutate_json(rng, content[8 : 8 + length], [])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def mutate_members(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Mutates one member of a ZIP archive and packs it again; sometimes mutates bytes of the archive instead."""
    if not zipfile.is_zipfile(io.BytesIO(content)) or rng.random() < 0.4:
        return mutate_bytes(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    chosen = rng.choice(members)
    if rng.random() < 0.2:
        chosen[0] = rng.choice(("../x", "/x", "a\\..\\b", "NUL", "x" * 300, members[0][0]))
    else:
        chosen[1] = mutate_bytes(rng, chosen[1], [body for _, body in members])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body)
    return buffer.getvalue()


def mutate_graph(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Mutates values of an ONNX graph that remains parsable: sizes, types, operators, attributes, edges."""
    import onnx

    model = onnx.load_model_from_string(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        node, tensor = rng.choice(model.graph.node), rng.choice(model.graph.initializer)
        names = [name for each in model.graph.node for name in (*each.input, *each.output)]
        number = rng.choice((-(1 << 63), -1, 0, 1, 2, 3, 5, 1 << 20, 1 << 31, (1 << 63) - 1))
        match rng.randrange(6):
            case 0 if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = number
            case 1:
                tensor.data_type = rng.randrange(30)
            case 2:
                tensor.raw_data = mutate_bytes(rng, tensor.raw_data, [])
            case 3:
                node.op_type = rng.choice(model.graph.node).op_type
            case 4 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice(names)
            case _ if node.attribute:
                rng.choice(node.attribute).i = number
    return bytes(model.SerializeToString())


def _replace_value(rng: random.Random, value: Any) -> Any:
    """Returns the value with one of its inner values replaced, dropped or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.12:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _replace_value(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        position = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value * rng.choice((2, 500))
        return [*value[:position], _replace_value(rng, value[position]), *value[position + 1 :]]
    return rng.choice(_UNUSUAL_VALUES)


def _fix_checksums(png: bytes) -> bytes:
    repaired, position = bytearray(png[:8]), 8
    while position + 8 <= len(png):
        length = int.from_bytes(png[position : position + 4])
        body = png[position + 4 : position + 8 + length]
        if len(body) < 4 + length:
            break
        repaired += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return bytes(repaired) + png[position:]


def _choose_span(rng: random.Random, data: bytes | bytearray, longest: int = 200) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randrange(1, longest))


def _choose_position(rng: random.Random, data: bytearray) -> int:
    """Returns a random position, often near the beginning, where most files have their headers."""
    return rng.randrange(max(1, len(data) if rng.random() < 0.5 else min(len(data), 200)))


def _flip(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 8))):
        if data:
            data[_choose_position(rng, data)] ^= 1 << rng.randrange(8)


def _set_number(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(_BOUNDARY_NUMBERS) & ((1 << 8 * size) - 1)
    position = _choose_position(rng, data)
    data[position : position + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _cut(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _choose_span(rng, data)
    del data[start:end]


def _end(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _repeat(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _choose_span(rng, data)
    data[start:start] = data[start:end] * rng.choice((1, 2, 30))


def _insert(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.randrange(1, 60))


def _fill(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, end = _choose_span(rng, data, 2000)
    data[start:end] = bytes([rng.choice((0, 0xFF, 0x20))]) * (end - start)


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others) if others else bytes(data)
    start, end = _choose_span(rng, other, max(2, len(other)))
    position = rng.randrange(len(data) + 1)
    data[position : position + (end - start if rng.random() < 0.5 else 0)] = other[start:end]


def _replace_digits(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Replaces a number written as text."""
    found = list(re.finditer(rb"\d+", bytes(data)))
    if found:
        match = rng.choice(found)
        data[match.start() : match.end()] = rng.choice((b"0", b"-1", b"65536", b"4294967296", b"9" * 40, b"1e999"))


_BYTE_MUTATIONS = (
    _flip,
    _flip,
    _set_number,
    _set_number,
    _cut,
    _end,
    _repeat,
    _insert,
    _fill,
    _splice,
    _replace_digits,
)
