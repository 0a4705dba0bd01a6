"""A classifier as an ONNX graph: normalised batch in; probabilities, logits and heat map out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo.errors import ExportError
from zoo.models.heatmap import Heatmap
from zoo_export.card import OUTPUTS, TENSOR
from zoo_export.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.models.classifier import Classifier

OPSETS = range(18, 26)  # 18 brought what exporters write today; later ones than 25 torch does not know
_ELSEWHERE = "Export with --to pt2, or train another backbone or head."
_MAX_BYTES = 2**31 - 2**24  # protobuf's limit, less what the graph itself takes


class Deployed(nn.Module):
    """What is exported: a classifier with everything that its user is told.

    Args:
        classifier: Is put into eval mode.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        classifier.eval()
        backbone = classifier.backbone
        self.backbone, self.head = backbone, classifier.head
        self.heatmap = Heatmap(self.head, pooled_width=backbone.pooled_width, map_width=backbone.map_width)
        self.eval()

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps normalised ``(N, 3, H, W)`` to probabilities and logits ``(N, classes)``, and heat map ``(N, h, w)``."""
        features = self.backbone(tensor)
        logits = self.head(features).float()
        return self.head.probabilities(logits), logits, self.heatmap(features, logits)


def to_onnx(module: Deployed, *, size: tuple[int, int], opset: int) -> onnx.ModelProto:
    """Writes a classifier as ONNX: input ``tensor``, float32 ``(batch, 3, *size)``, with a batch of any size.

    Raises:
        ExportError: An operator has no ONNX form, the network cannot be traced, or is larger than a file may be.
    """
    if opset not in OPSETS:
        raise ExportError(
            f"There is no export to opset {opset}.", hint=f"Choose --opset {OPSETS.start} to {OPSETS.stop - 1}."
        )
    needed = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    if needed > _MAX_BYTES:
        raise ExportError(
            f"The network has {needed / 2**30:.1f} GiB of weights; one ONNX file holds less than 2.",
            hint="Export it with --to pt2, or train a smaller backbone.",
        )
    try:
        # Traced with another kernel, attention whose mask is made of parameters has other strides than the operators
        # that it is then taken apart into, and no view fits: https://github.com/pytorch/pytorch/issues/136543
        with quiet(), sdpa_kernel(SDPBackend.MATH):
            program = torch.onnx.export(
                module,
                (torch.zeros(2, 3, *size),),
                dynamo=True,
                opset_version=opset,
                input_names=[TENSOR],
                output_names=list(OUTPUTS),
                dynamic_shapes={TENSOR: {0: "batch"}},
                verbose=False,
            )
            assert program is not None
            proto = program.model_proto
    except Exception as error:  # the exporter raises dozens of kinds
        raise _explained(error) from error
    return _tidied(proto, opset)


def _tidied(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Removes the exporter's notes, which tell paths of this machine, and asks for no newer a reader than is needed."""
    (written,) = (each.version for each in proto.opset_import if each.domain == "")
    if written != opset:  # older exporters fall back in silence
        raise ExportError(
            f"The network can be written in opset {written}, not in {opset}.", hint=f"Say --opset {written}."
        )
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        value.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")
    proto.graph.name = "classifier"
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    return proto


def _explained(error: Exception) -> ExportError:
    chain = list(_chain(error))
    found = re.search(r"target=torch\.ops\.([\w.]+)", "\n".join(map(str, chain)))
    if found and str(chain[-1]).startswith("No ONNX function found"):
        return ExportError(f"The operator {found[1]} has no ONNX form.", hint=_ELSEWHERE)
    reason = str(chain[-1]).strip().partition("\n")[0][:300].rstrip(". ")
    where = f", at the operator {found[1]}" if found else ""
    return ExportError(
        f"The network cannot be exported: {type(chain[-1]).__name__}: {reason}{where}.",
        hint=_ELSEWHERE if found else "Its forward() must not depend on values of its input.",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
