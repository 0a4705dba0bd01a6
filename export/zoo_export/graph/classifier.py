"""A classifier as an ONNX graph: a normalised batch in; probabilities, logits and heat map out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo.errors import ExportError
from zoo.models.heatmap import build_heatmap
from zoo_export.graph.converters import describe_error, silence
from zoo_export.model_card import FEATURES, OUTPUTS, TENSOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.models.classifier import Classifier

OPSETS = range(18, 26)  # exporters write no older one; torch supports no newer one
_OTHER_WAYS = "Export with --to pt2, or train another backbone or head."
_MAX_BYTES = 2**31 - 2**24  # protobuf's limit, minus room for the graph itself


class ExportableClassifier(nn.Module):
    """A classifier with all of its outputs: the module that is exported.

    Args:
        classifier: The trained classifier; switched to eval mode.
        image_size: (height, width) in pixels.
        extra: Maps features to one more output.
    """

    def __init__(self, classifier: Classifier, image_size: tuple[int, int], *, extra: nn.Module | None = None) -> None:
        super().__init__()
        classifier.eval()
        self.backbone, self.head = classifier.backbone, classifier.head
        self.heatmap = build_heatmap(classifier, image_size)
        self.extra = extra
        self.eval()

    def forward(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Maps normalised ``(N, 3, H, W)`` to probabilities and logits ``(N, classes)``, and heat map ``(N, h, w)``.

        If there is an extra output, it follows.
        """
        features = self.backbone.extract(tensor)
        logits = self.head(features).float()
        outputs = self.head.probabilities(logits), logits, self.heatmap(features, logits)
        return outputs if self.extra is None else (*outputs, self.extra(features))


def to_onnx(module: ExportableClassifier, *, size: tuple[int, int], opset: int) -> onnx.ModelProto:
    """Converts a classifier to ONNX: input ``tensor``, float32 ``(batch, 3, *size)``, for batches of any size.

    The extra output of the module is called ``features``.

    Raises:
        ExportError: An operator has no ONNX form, the network cannot be traced, or it is too large for one file.
    """
    if opset not in OPSETS:
        raise ExportError(
            f"Opset {opset} is not supported.", hint=f"Choose --opset {OPSETS.start} to {OPSETS.stop - 1}."
        )
    needed = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    if needed > _MAX_BYTES:
        raise ExportError(
            f"The network has {needed / 2**30:.1f} GiB of weights; an ONNX file holds less than 2 GiB.",
            hint="Export it with --to pt2, or train a smaller backbone.",
        )
    try:
        # Another attention kernel than MATH, with a mask computed from parameters, gives the traced tensors strides
        # that the decomposed operators cannot view: https://github.com/pytorch/pytorch/issues/136543
        with silence(), sdpa_kernel(SDPBackend.MATH):
            program = torch.onnx.export(
                module,
                (torch.zeros(2, 3, *size),),
                dynamo=True,
                opset_version=opset,
                input_names=[TENSOR],
                output_names=[*OUTPUTS, *([] if module.extra is None else [FEATURES])],
                dynamic_shapes={TENSOR: {0: "batch"}},
                verbose=False,
            )
            assert program is not None
            proto = program.model_proto
    except Exception as error:  # the exporter raises dozens of types
        raise _explain(error) from error
    return _clean(proto, opset)


def _clean(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Removes the exporter's notes, which contain paths of this machine, and requires no newer reader than needed."""
    (written,) = (each.version for each in proto.opset_import if each.domain == "")
    if written != opset:  # older exporters silently write another opset
        raise ExportError(
            f"The network can be exported in opset {written}, but not in {opset}.", hint=f"Pass --opset {written}."
        )
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    # Inner shapes say "batch", with which tract refuses to fix the size of a batch. Every reader infers them.
    proto.graph.ClearField("value_info")
    proto.ClearField("metadata_props")
    proto.graph.name = "classifier"
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    return proto


def _explain(error: Exception) -> ExportError:
    """Returns an error that names the cause and, if the exporter does, the operator."""
    chain = list(_chain(error))
    found = re.search(r"target=torch\.ops\.([\w.]+)", "\n".join(map(str, chain)))
    if found and str(chain[-1]).startswith("No ONNX function found"):
        return ExportError(f"The operator {found[1]} has no ONNX form.", hint=_OTHER_WAYS)
    where = f", at the operator {found[1]}" if found else ""
    return ExportError(
        f"The network cannot be exported: {describe_error(chain[-1])}{where}.",
        hint=_OTHER_WAYS if found else "Its forward() must not depend on the values of its input.",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
