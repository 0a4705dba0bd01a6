"""A run's preprocessing as ONNX operators: raw pixels of any size to the network's input.

The resize is Pillow's, bit for bit, written out as matrix products: Pillow's filter is separable, so one matrix weighs
the columns and another the rows, and only what the crop keeps is computed. Every runtime and every device has these
operators and gives the same. The operator Resize weighs the outermost pixels otherwise than Pillow does
(https://onnx.ai/onnx/operators/onnx__Resize.html: ``exclude_outside`` is for cubic alone), rounds otherwise, differs
from device to device, and computes all of a long strip before the crop.

Pillow's weights are whole numbers, in units of 2**-22, and its sums have 30 bits, more than float32 can hold. So each
weight is split into a high and a low part of 11 bits, and each part has a product of its own. Those are exact: of at
most 24 bits, and with factors of at most 11, which even TF32 keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from zoo_export.card import PIXELS
from zoo_export.nodes import Nodes

if TYPE_CHECKING:
    from onnx import GraphProto

    from zoo.preprocess import Preprocess

_HALF = 2.0**11  # 11 of the 22 bits that Pillow's weights have after the point
_CUBIC = -0.5  # Pillow's a; torch's is -0.75 where it does not antialias


class _Axis(NamedTuple):
    """One axis of the resize and crop; each an int64 value of shape ``(1,)``, but for `size`.

    Attributes:
        size: Length of the crop.
        length: Of the photo.
        resized: Length after the resize.
        start: Where the crop begins in the resized photo; negative where there is padding.
        first: The first pixel of the photo that the crop has something of.
        end: The pixel behind the last.
    """

    size: int
    length: str
    resized: str
    start: str
    first: str
    end: str


def put_before(graph: GraphProto, spec: Preprocess) -> None:
    """Makes a graph whose one input is a normalised batch take raw pixels: ``image``, uint8 RGB ``(N, H, W, 3)``."""
    network_input = graph.input[0].name
    nodes = Nodes("preprocess")
    _normalise(nodes, _resize(nodes, spec), spec, output=network_input)
    existing = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes.nodes, *existing])
    graph.initializer.extend(nodes.initializers)
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["batch", "height", "width", 3]))


def _resize(op: Nodes, spec: Preprocess) -> str:
    """Adds what resizes and crops; returns a value of whole numbers 0 to 255, float32 ``(N, 3, *spec.size)``.

    Photos that have the right size already are only cropped, which costs a tenth. All that only the resize needs stands
    in its branch: even the smallest operator costs some millionths of a second.
    """
    lengths = op("Shape", PIXELS, start=1, end=3)
    return op.either(
        _is_right(op, lengths, spec),
        lambda inner: _cropped(inner, lengths, spec),
        lambda inner: _resized(inner, lengths, spec),
    )


def _is_right(op: Nodes, lengths: str, spec: Preprocess) -> str:
    """Adds whether the resize changes nothing and the crop lies in the photo, a scalar."""
    if spec.resize_mode == "squash":
        apart = op("Abs", op("Sub", lengths, op.integers(*spec.size)))
        return op("Equal", op("ReduceMax", apart, op.integers(0), keepdims=0), op.integer(0))
    same = op("Equal", _decisive(op, lengths, spec, keepdims=0), op.integer(spec.resize))
    if not _may_pad(spec):
        return same
    left = op("ReduceMin", op("Sub", lengths, op.integers(*spec.size)), op.integers(0), keepdims=0)
    return op("And", same, op("GreaterOrEqual", left, op.integer(0)))


def _decisive(op: Nodes, lengths: str, spec: Preprocess, *, keepdims: int) -> str:
    """Adds the length of the side that becomes `spec.resize` long."""
    return op("ReduceMin" if spec.resize_mode == "shorter" else "ReduceMax", lengths, op.integers(0), keepdims=keepdims)


def _cropped(op: Nodes, lengths: str, spec: Preprocess) -> str:
    if spec.resize_mode == "squash":
        return _planes(op, PIXELS)
    size = op.integers(*spec.size)
    start = _half(op, op("Sub", lengths, size))
    return _planes(op, op("Slice", PIXELS, start, op("Add", start, size), op.integers(1, 2)))


def _planes(op: Nodes, pixels: str) -> str:
    return op("Cast", op("Transpose", pixels, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)


def _resized(op: Nodes, lengths: str, spec: Preprocess) -> str:
    rows, columns = _axes(op, lengths, spec)
    first, end = (op("Concat", a, b, axis=0) for a, b in ((rows.first, columns.first), (rows.end, columns.end)))
    seen = op("Slice", PIXELS, first, end, op.integers(1, 2))
    pixels = _planes(op, seen)
    across, down = _weights(op, columns, spec, along=0), _weights(op, rows, spec, along=1)

    def horizontally(inner: Nodes, value: str) -> str:
        return _level(inner, *(inner("MatMul", value, part) for part in across))

    def vertically(inner: Nodes, value: str) -> str:
        return _level(inner, *(inner("MatMul", part, value) for part in down))

    resized = op.either(
        _is_tall(op, rows, columns),
        lambda inner: horizontally(inner, vertically(inner, pixels)),
        lambda inner: vertically(inner, horizontally(inner, pixels)),
    )
    return _pad(op, resized, rows, columns, spec) if _may_pad(spec) else resized


def _is_tall(op: Nodes, rows: _Axis, columns: _Axis) -> str:
    """Adds whether Pillow resizes the columns first, a scalar: of photos more than 100 times as high as wide.

    Pillow 12.3 does: https://github.com/python-pillow/Pillow/pull/9524
    """
    narrow = op("Greater", rows.length, op("Mul", columns.length, op.integers(100)))
    return op("Reshape", op("And", narrow, op("Less", rows.resized, rows.length)), op.integers())


def _axes(op: Nodes, lengths: str, spec: Preprocess) -> tuple[_Axis, _Axis]:
    """Returns rows and columns; the arithmetic is that of `zoo.data.images.decode.preprocess`, in whole numbers."""
    size = op.integers(*spec.size)
    if spec.resize_mode == "squash":
        resized = size
    else:
        one = _decisive(op, lengths, spec, keepdims=1)
        resized = op("Max", op.integers(1), op("Div", op("Mul", op.integers(spec.resize), lengths), one))
    start = _start(op, op("Sub", resized, size))
    bounds = (lengths, resized, start, *_seen(op, lengths, resized, start, size))
    rows, columns = ([op("Slice", each, op.integers(i), op.integers(i + 1)) for each in bounds] for i in range(2))
    return _Axis(spec.size[0], *rows), _Axis(spec.size[1], *columns)


def _seen(op: Nodes, lengths: str, resized: str, start: str, size: str) -> tuple[str, str]:
    """Adds the bounds of the photo's pixels that the crop has something of, or a few more: of a long strip, few."""
    # Twice the shrinking on either side: the support of the wider filter, the cubic one.
    reach = op("Add", op("Mul", op("Div", lengths, resized), op.integers(2)), op.integers(4))
    first, last = (op("Div", op("Mul", place, lengths), resized) for place in (start, op("Add", start, size)))
    return op("Max", op("Sub", first, reach), op.integers(0)), op("Min", op("Add", last, reach), lengths)


def _start(op: Nodes, excess: str) -> str:
    """Adds ``round(excess / 2)``, half to even, where it is positive, else ``-(-excess // 2)``."""
    zero = op.integers(0)
    over, under = op("Max", excess, zero), op("Max", op("Neg", excess), zero)
    return op("Sub", _half(op, over), op("Div", under, op.integers(2)))


def _half(op: Nodes, value: str) -> str:
    """Adds ``round(value / 2)``, half to even, of what is not negative."""
    two = op.integers(2)
    half = op("Div", value, two)
    up = op("Mul", op("Mod", value, two), op("Mod", half, two))  # 1 where an odd half is to be rounded up
    return op("Add", half, up)


def _weights(op: Nodes, axis: _Axis, spec: Preprocess, *, along: int) -> tuple[str, str]:
    """Adds what each pixel of the photo weighs in each of the crop: whole numbers, as Pillow rounds them.

    Returns the high and the low part, float32 ``(end - first, size)`` for `along` 0, ``(size, end - first)`` for 1.
    Along that axis they sum to one, in units of 2**-22, or to zero for pixels beyond the photo.
    """
    scalar = op.integers()  # an empty shape
    bounds = (op("Reshape", bound, scalar) for bound in (axis.first, axis.end))
    pixels = op("Range", *bounds, op.constant(np.array(1)))
    places = _places(op, axis)
    pixels, places = (op("Unsqueeze", value, op.integers(i)) for value, i in ((pixels, 1 - along), (places, along)))
    # Centres lie at half pixels: of pixel x at (x + 1/2) / length of the whole, of place i at (i + 1/2) / resized.
    # The distance in units of the filter, whose width grows with the shrinking, is a ratio of whole numbers.
    distance = op("Sub", _times_odd(op, pixels, axis.resized), _times_odd(op, places, axis.length))
    unit = op("Mul", op("Max", axis.length, axis.resized), op.integers(2))
    far = op("Abs", op("Div", *(op("Cast", value, to=TensorProto.DOUBLE) for value in (distance, unit))))
    raw = _cubic(op, far) if spec.interpolation == "bicubic" else op("Max", op("Sub", op.double(1), far), op.double(0))
    total = op("ReduceSum", raw, op.integers(along), keepdims=1)
    if _may_pad(spec):
        inside = op("Unsqueeze", _inside(op, axis), op.integers(along))
        raw, total = op("Where", inside, raw, op.double(0)), op("Where", inside, total, op.double(1))
    return _split(op, op("Div", raw, total))


def _split(op: Nodes, share: str) -> tuple[str, str]:
    """Adds the two parts of a weight, the high one in units of 2**-11, the low one in units of 2**-22.

    The second is given times 2**11, so that both are added up from numbers of one size.
    """
    whole = op("Floor", op("Add", op("Mul", share, op.double(_HALF**2)), op.double(0.5)))
    both = op("Mul", whole, op.double(1 / _HALF))
    high = op("Floor", both)
    low = op("Sub", both, high)
    high = op("Mul", high, op.double(1 / _HALF))
    return op("Cast", high, to=TensorProto.FLOAT), op("Cast", low, to=TensorProto.FLOAT)


def _level(op: Nodes, high: str, low: str) -> str:
    """Adds the level, 0 to 255, of sums of weighted pixels, half upwards: what Pillow has after each of its passes."""
    carried = op("Mul", op("Floor", low), op.real(1 / _HALF))
    level = op("Floor", op("Add", op("Add", high, carried), op.real(0.5)))
    return op("Clip", level, op.real(0), op.real(255))


def _times_odd(op: Nodes, value: str, factor: str) -> str:
    """Adds ``(2 value + 1) factor``."""
    return op("Mul", op("Add", op("Mul", value, op.integers(2)), op.integers(1)), factor)


def _cubic(op: Nodes, far: str) -> str:
    """Adds the cubic convolution kernel of Keys 1981 at distances that are not negative."""
    near = _polynomial(op, far, (_CUBIC + 2, -(_CUBIC + 3), 0, 1))
    tail = _polynomial(op, far, (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC))
    beyond = op("Where", op("Less", far, op.double(2)), tail, op.double(0))
    return op("Where", op("Less", far, op.double(1)), near, beyond)


def _polynomial(op: Nodes, x: str, coefficients: tuple[float, ...]) -> str:
    value = op.double(coefficients[0])
    for coefficient in coefficients[1:]:
        value = op("Add", op("Mul", value, x), op.double(coefficient))
    return value


def _may_pad(spec: Preprocess) -> bool:
    return spec.resize_mode == "longer" or (spec.resize_mode == "shorter" and spec.resize < max(spec.size))


def _places(op: Nodes, axis: _Axis) -> str:
    """Adds where the pixels of the crop lie in the resized photo, ``(size,)``."""
    return op("Add", op.constant(np.arange(axis.size)), axis.start)


def _inside(op: Nodes, axis: _Axis) -> str:
    """Adds whether a pixel of the crop lies in the resized photo, ``(size,)``."""
    places = _places(op, axis)
    return op("And", op("GreaterOrEqual", places, op.integers(0)), op("Less", places, axis.resized))


def _pad(op: Nodes, resized: str, rows: _Axis, columns: _Axis, spec: Preprocess) -> str:
    """Adds the mean colour around the photo in mode ``"longer"``; elsewhere the padding is black, as it is already."""
    if spec.resize_mode != "longer":
        return resized
    inside = op("And", *(op("Unsqueeze", _inside(op, axis), op.integers(i)) for axis, i in ((rows, 1), (columns, 0))))
    return op("Where", inside, resized, op.constant(_channels(*(round(255 * mean) for mean in spec.mean))))


def _normalise(op: Nodes, resized: str, spec: Preprocess, *, output: str) -> None:
    centred = op("Sub", resized, op.constant(_channels(*(255 * mean for mean in spec.mean))))
    scale = op.constant(_channels(*(1 / (255 * std) for std in spec.std)))
    op("Mul", centred, scale, output=output)


def _channels(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)
