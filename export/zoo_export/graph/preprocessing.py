"""The preprocessing of a run as ONNX operators: raw pixels of any size in, the network's input out.

The resize equals Pillow's bit for bit. It is written as matrix products: Pillow's filter is separable, so one matrix
weights the columns and another the rows, and only what the crop keeps is computed. Every runtime has these operators,
and they give the same result on every device. The operator Resize does not: it weights the outermost pixels differently
from Pillow (https://onnx.ai/onnx/operators/onnx__Resize.html: ``exclude_outside`` is for cubic only), rounds
differently, varies between devices, and computes all of a long strip before the crop.

There is no control flow: OpenVINO answered wrongly after each compilation of a graph with an If, and OpenCV, tract and
onnx2tf refuse it. `zoo_export.runtime.second_entry` leaves the resize out for images that need none.

Pillow's weights are integers in units of 2**-22, and its sums have 30 bits, more than float32 can hold. So each weight
is split into a high and a low part of 11 bits, and each part has its own product. These products are exact: they have
at most 24 bits, and their factors at most 11, which even TF32 keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from zoo_export.graph.builder import GraphBuilder
from zoo_export.model_card import PIXELS, RESIZE, RESIZED

if TYPE_CHECKING:
    from onnx import GraphProto

    from zoo.preprocess import Preprocess

_PART = 2.0**11  # each part has 11 of the 22 fractional bits of Pillow's weights
_CUBIC = -0.5  # Pillow's a; torch uses -0.75 unless it antialiases


class _Axis(NamedTuple):
    """One axis of the resize and the crop. Each field but `size` names an int64 value of shape ``(1,)``.

    Attributes:
        size: Length of the crop.
        length: Length of the photo.
        resized: Length after the resize.
        start: Where the crop starts in the resized photo; negative if the crop is padded.
        first: The first pixel of the photo that the crop depends on.
        end: One past the last such pixel.
    """

    size: int
    length: str
    resized: str
    start: str
    first: str
    end: str


def prepend_preprocessing(graph: GraphProto, spec: Preprocess) -> None:
    """Makes a graph take raw pixels, ``image``, uint8 RGB ``(N, H, W, 3)``, in place of a normalised batch."""
    network_input = graph.input[0].name
    resize, normalise = GraphBuilder(RESIZE), GraphBuilder("preprocess/normalise")
    _resize_and_crop(resize, spec, output=RESIZED)
    _normalise(normalise, RESIZED, spec, output=network_input)
    existing = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*resize.nodes, *normalise.nodes, *existing])
    graph.initializer.extend([*resize.initializers, *normalise.initializers])
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["batch", "height", "width", 3]))


def _reference_side(op: GraphBuilder, lengths: str, spec: Preprocess) -> str:
    """Adds the length of the side that the resize makes `spec.resize` long."""
    return op("ReduceMin" if spec.resize_mode == "shorter" else "ReduceMax", lengths, op.int_vector(0), keepdims=1)


def _to_planes(op: GraphBuilder, pixels: str) -> str:
    """Adds the conversion of uint8 ``(N, h, w, 3)`` to float32 ``(N, 3, h, w)``."""
    return op("Cast", op("Transpose", pixels, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)


def _resize_and_crop(op: GraphBuilder, spec: Preprocess, *, output: str) -> None:
    """Adds resize and crop of the photos: integer values from 0 to 255, float32 ``(N, 3, *spec.size)``.

    Pillow rounds after each of its two passes, so their order matters. Both orders are computed, the wrong one from a
    single pixel of each photo.
    """
    rows, columns = _axes(op, op("Shape", PIXELS, start=1, end=3), spec)
    first, end = (op("Concat", a, b, axis=0) for a, b in ((rows.first, columns.first), (rows.end, columns.end)))
    column_weights, row_weights = _weights(op, columns, spec, along=0), _weights(op, rows, spec, along=1)
    tall, single = _is_tall(op, rows, columns), op("Add", first, op.int_vector(1))

    def resize(end: str, *, vertically_first: bool) -> str:
        pixels = _to_planes(op, op("Slice", PIXELS, first, end, op.int_vector(1, 2)))
        lengths = op("Sub", end, first)
        height, width = (op("Slice", lengths, op.int_vector(i), op.int_vector(i + 1)) for i in range(2))
        zero, one = op.int_vector(0), op.int_vector(1)
        for vertical in (vertically_first, not vertically_first):
            if vertical:
                parts = (op("MatMul", op("Slice", part, zero, height, one), pixels) for part in row_weights)
            else:
                parts = (op("MatMul", pixels, op("Slice", part, zero, width, zero)) for part in column_weights)
            pixels = _round_pass(op, *parts)
        return pixels

    tall_result = resize(op("Where", tall, end, single), vertically_first=True)
    usual_result = resize(op("Where", tall, single, end), vertically_first=False)
    if spec.resize_mode == "longer":
        _pad(op, op("Where", tall, tall_result, usual_result), rows, columns, spec, output=output)
    else:  # elsewhere the padding already is black
        op("Where", tall, tall_result, usual_result, output=output)


def _is_tall(op: GraphBuilder, rows: _Axis, columns: _Axis) -> str:
    """Adds a boolean scalar: Pillow resizes vertically first, which it does if a photo is over 100 times taller.

    Since Pillow 12.3: https://github.com/python-pillow/Pillow/pull/9524
    """
    narrow = op("Greater", rows.length, op("Mul", columns.length, op.int_vector(100)))
    return op("Squeeze", op("And", narrow, op("Less", rows.resized, rows.length)), op.int_vector(0))


def _axes(op: GraphBuilder, lengths: str, spec: Preprocess) -> tuple[_Axis, _Axis]:
    """Returns rows and columns, with the integer arithmetic of `zoo.data.images.resize.preprocess`."""
    size = op.int_vector(*spec.size)
    if spec.resize_mode == "squash":
        resized = size
    else:
        reference = _reference_side(op, lengths, spec)
        resized = op("Max", op.int_vector(1), op("Div", op("Mul", op.int_vector(spec.resize), lengths), reference))
    start = _crop_start(op, op("Sub", resized, size))
    bounds = (lengths, resized, start, *_source_bounds(op, lengths, resized, start, size))
    rows, columns = ([op("Slice", each, op.int_vector(i), op.int_vector(i + 1)) for each in bounds] for i in range(2))
    return _Axis(spec.size[0], *rows), _Axis(spec.size[1], *columns)


def _source_bounds(op: GraphBuilder, lengths: str, resized: str, start: str, size: str) -> tuple[str, str]:
    """Adds the bounds of the source pixels that the crop depends on, with a few to spare: few pixels of a long strip.

    The margin on either side is twice the scale: the support of the cubic filter, which is the wider one.
    """
    margin = op("Add", op("Mul", op("Div", lengths, resized), op.int_vector(2)), op.int_vector(4))
    first, last = (op("Div", op("Mul", place, lengths), resized) for place in (start, op("Add", start, size)))
    return op("Max", op("Sub", first, margin), op.int_vector(0)), op("Min", op("Add", last, margin), lengths)


def _crop_start(op: GraphBuilder, excess: str) -> str:
    """Adds ``round(excess / 2)``, half to even, for a positive excess; ``-(-excess // 2)`` otherwise."""
    zero = op.int_vector(0)
    over, under = op("Max", excess, zero), op("Max", op("Neg", excess), zero)
    return op("Sub", _half(op, over), op("Div", under, op.int_vector(2)))


def _half(op: GraphBuilder, value: str) -> str:
    """Adds ``round(value / 2)``, half to even, of a value that is not negative."""
    two = op.int_vector(2)
    half = op("Div", value, two)
    up = op("Mul", op("Mod", value, two), op("Mod", half, two))  # 1 if an odd half is to be rounded up
    return op("Add", half, up)


def _weights(op: GraphBuilder, axis: _Axis, spec: Preprocess, *, along: int) -> tuple[str, str]:
    """Adds the weight of each source pixel for each pixel of the crop, rounded to integers as Pillow rounds them.

    Returns:
        The high and the low part, float32 ``(end - first, size)`` for `along` 0, ``(size, end - first)`` for 1.
        Along that axis they sum to one, in units of 2**-22, or to zero for pixels outside the photo.
    """
    bounds = (op("Squeeze", bound, op.int_vector(0)) for bound in (axis.first, axis.end))
    pixels = op("Range", *bounds, op.constant(np.array(1)))
    places = _places(op, axis)
    pixels, places = (op("Unsqueeze", value, op.int_vector(i)) for value, i in ((pixels, 1 - along), (places, along)))
    # Centres lie at half pixels: pixel x at (x + 1/2) / length of the whole, place i at (i + 1/2) / resized.
    # The distance in units of the filter, which widens as the photo shrinks, is a ratio of integers.
    distance = op("Sub", _times_odd(op, pixels, axis.resized), _times_odd(op, places, axis.length))
    unit = op("Mul", op("Max", axis.length, axis.resized), op.int_vector(2))
    far = op("Abs", op("Div", *(op("Cast", value, to=TensorProto.DOUBLE) for value in (distance, unit))))
    raw = _cubic(op, far) if spec.interpolation == "bicubic" else _triangle(op, far)
    total = op("ReduceSum", raw, op.int_vector(along), keepdims=1)
    if _may_pad(spec):
        inside = op("Unsqueeze", _inside(op, axis), op.int_vector(along))
        raw, total = op("Where", inside, raw, op.double_scalar(0)), op("Where", inside, total, op.double_scalar(1))
    return _split(op, op("Div", raw, total))


def _split(op: GraphBuilder, share: str) -> tuple[str, str]:
    """Adds the two parts of a weight: the high one in units of 2**-11, the low one in units of 2**-22.

    The low part is scaled by 2**11, so that both sums are of the same magnitude.
    """
    whole = op("Floor", op("Add", op("Mul", share, op.double_scalar(_PART**2)), op.double_scalar(0.5)))
    both = op("Mul", whole, op.double_scalar(1 / _PART))
    high = op("Floor", both)
    low = op("Sub", both, high)
    high = op("Mul", high, op.double_scalar(1 / _PART))
    return op("Cast", high, to=TensorProto.FLOAT), op("Cast", low, to=TensorProto.FLOAT)


def _round_pass(op: GraphBuilder, high: str, low: str) -> str:
    """Adds the rounding, half up, and the clipping to 0 to 255 that Pillow applies after each of its two passes."""
    carried = op("Mul", op("Floor", low), op.float_scalar(1 / _PART))
    level = op("Floor", op("Add", op("Add", high, carried), op.float_scalar(0.5)))
    return op("Clip", level, op.float_scalar(0), op.float_scalar(255))


def _times_odd(op: GraphBuilder, value: str, factor: str) -> str:
    """Adds ``(2 value + 1) factor``."""
    return op("Mul", op("Add", op("Mul", value, op.int_vector(2)), op.int_vector(1)), factor)


def _triangle(op: GraphBuilder, far: str) -> str:
    """Adds the kernel of bilinear interpolation at distances that are not negative."""
    return op("Max", op("Sub", op.double_scalar(1), far), op.double_scalar(0))


def _cubic(op: GraphBuilder, far: str) -> str:
    """Adds the cubic convolution kernel of Keys 1981 at distances that are not negative."""
    near = _polynomial(op, far, (_CUBIC + 2, -(_CUBIC + 3), 0, 1))
    tail = _polynomial(op, far, (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC))
    beyond = op("Where", op("Less", far, op.double_scalar(2)), tail, op.double_scalar(0))
    return op("Where", op("Less", far, op.double_scalar(1)), near, beyond)


def _polynomial(op: GraphBuilder, x: str, coefficients: tuple[float, ...]) -> str:
    value = op.double_scalar(coefficients[0])
    for coefficient in coefficients[1:]:
        value = op("Add", op("Mul", value, x), op.double_scalar(coefficient))
    return value


def _may_pad(spec: Preprocess) -> bool:
    return spec.resize_mode == "longer" or (spec.resize_mode == "shorter" and spec.resize < max(spec.size))


def _places(op: GraphBuilder, axis: _Axis) -> str:
    """Adds the positions of the crop's pixels in the resized photo, ``(size,)``."""
    return op("Add", op.constant(np.arange(axis.size)), axis.start)


def _inside(op: GraphBuilder, axis: _Axis) -> str:
    """Adds whether each pixel of the crop lies inside the resized photo, ``(size,)``."""
    places = _places(op, axis)
    return op("And", op("GreaterOrEqual", places, op.int_vector(0)), op("Less", places, axis.resized))


def _pad(op: GraphBuilder, resized: str, rows: _Axis, columns: _Axis, spec: Preprocess, *, output: str) -> None:
    """Adds padding of the mean colour."""
    inside = op("And", *(op("Unsqueeze", _inside(op, axis), op.int_vector(i)) for axis, i in ((rows, 1), (columns, 0))))
    op("Where", inside, resized, op.constant(_channels(*(round(255 * mean) for mean in spec.mean))), output=output)


def _normalise(op: GraphBuilder, resized: str, spec: Preprocess, *, output: str) -> None:
    centred = op("Sub", resized, op.constant(_channels(*(255 * mean for mean in spec.mean))))
    scale = op.constant(_channels(*(1 / (255 * std) for std in spec.std)))
    op("Mul", centred, scale, output=output)


def _channels(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)
