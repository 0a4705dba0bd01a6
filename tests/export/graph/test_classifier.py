"""A classifier as an ONNX graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from criteria import make_criterion
from fakes import SmallBackbone, SmallHead
from torch import nn

from zoo.errors import ExportError
from zoo.models.classifier import Classifier
from zoo.plugins.contracts import StagedBackbone
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import HeadRequest
from zoo_export.graph.classifier import ExportableClassifier, _explain, to_onnx

SIZE = (16, 20)


def make_request(**values):
    known = {"pooled_width": 12, "map_width": 12, "outputs": 3, "dropout": 0.5, "criterion": make_criterion()}
    return HeadRequest(**{**known, "options": NoOptions(), **values})


def make_exportable(backbone=None, **values):
    backbone = backbone or SmallBackbone(dropout=0.4)
    return ExportableClassifier(
        Classifier(backbone.train(), SmallHead(make_request(map_width=backbone.map_width, **values))), SIZE
    )


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    module = make_exportable()
    return module, to_onnx(module, size=SIZE, opset=18)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_outputs_equal_those_of_the_module_in_eval_mode(converted, batch):
    module, proto = converted
    tensor = torch.randn(batch, 3, *SIZE)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = module(tensor)
    for value, actual in zip(expected, session.run(None, {"tensor": tensor.numpy()}), strict=True):
        np.testing.assert_allclose(actual, value.numpy(), atol=1e-5)


def test_graph_needs_no_newer_reader_and_contains_no_path_of_this_machine(converted):
    _, proto = converted
    assert proto.ir_version == 8
    assert not proto.graph.value_info  # with its "batch", tract refuses to fix the size of a batch
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 18)]
    assert [value.name for value in proto.graph.output] == ["probabilities", "logits", "heatmap"]
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert b"/zoo/" not in proto.SerializeToString()
    onnx.checker.check_model(proto, full_check=True)


def test_sigmoid_stays_a_sigmoid():
    proto = to_onnx(make_exportable(criterion=make_criterion("bce")), size=SIZE, opset=18)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    probabilities, logits, _ = session.run(None, {"tensor": np.ones((2, 3, *SIZE), dtype=np.float32)})
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_operator_without_an_onnx_form_is_named():
    class Unsupported(nn.Module):
        def forward(self, x):
            return x * torch.linalg.eigvalsh(x @ x.transpose(2, 3))[..., None]

    backbone = StagedBackbone({"stem": nn.Conv2d(3, 12, 3), "odd": Unsupported()}, width=12)
    with pytest.raises(ExportError, match=r"The operator aten\._linalg_eigh\.default has no ONNX form") as caught:
        to_onnx(make_exportable(backbone), size=SIZE, opset=18)
    assert "--to pt2" in caught.value.hint


def test_attention_with_a_mask_computed_from_parameters_is_decomposed():
    """As in BEiT and timm's MaxViT: the strides depend on the kernel during tracing."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 12)
            self.mask = nn.Parameter(torch.randn(1, 2, 20, 20))

        def forward(self, x):
            tokens = self.linear(x.flatten(2).transpose(1, 2)).unflatten(2, (2, 6)).transpose(1, 2)
            attended = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=2 * self.mask)
            return attended.transpose(1, 2).reshape(x.shape[0], -1, 12).transpose(1, 2).reshape(x.shape)

    module = make_exportable(StagedBackbone({"stem": nn.Conv2d(3, 12, 4, 4), "attention": Attention()}, width=12))
    proto = to_onnx(module, size=SIZE, opset=18)
    tensor = torch.randn(7, 3, *SIZE)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = module(tensor)[1]
    np.testing.assert_allclose(session.run(["logits"], {"tensor": tensor.numpy()})[0], expected.numpy(), atol=1e-5)


def test_failing_operator_is_named_without_blaming_onnx():
    failed = ValueError("Cannot view a tensor.\n\nWhile executing call_function[target=torch.ops.aten.view.default](x)")
    error = _explain(failed)
    assert error.message == (
        "The network cannot be exported: ValueError: Cannot view a tensor, at the operator aten.view.default."
    )
    assert "--to pt2" in error.hint


def test_data_dependent_network_is_refused():
    class DataDependent(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    backbone = StagedBackbone({"stem": nn.Conv2d(3, 12, 3), "dependent": DataDependent()}, width=12)
    with pytest.raises(ExportError, match="The network cannot be exported: GuardOnDataDependent") as caught:
        to_onnx(make_exportable(backbone), size=SIZE, opset=18)
    assert "must not depend on the values" in caught.value.hint


@pytest.mark.parametrize("opset", [17, 26])
def test_unsupported_opset_is_refused(opset):
    with pytest.raises(ExportError, match=f"Opset {opset} is not supported"):
        to_onnx(make_exportable(), size=SIZE, opset=opset)


def test_network_larger_than_a_file_is_refused(monkeypatch):
    monkeypatch.setattr("zoo_export.graph.classifier._MAX_BYTES", 1000)
    with pytest.raises(ExportError, match="an ONNX file holds less than 2 GiB"):
        to_onnx(make_exportable(), size=SIZE, opset=18)


def test_exporter_prints_nothing(capfd):
    to_onnx(make_exportable(), size=SIZE, opset=18)
    assert capfd.readouterr() == ("", "")
