from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from criteria import make_criterion
from torch import nn

import zoo_heads
from zoo.errors import ConfigError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.contracts import Features, Head
from zoo.plugins.kinds import HEAD
from zoo.plugins.options import describe_options, make_options
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import HeadRequest
from zoo.testing import check_head, check_plugin
from zoo_heads.heads import CosineClassifier

POOLED, MAP, OUTPUTS = 12, 8, 5
STAGES = {"low": (4, 12, 8), "middle": (6, 6, 4), "high": (MAP, 3, 2)}
SPECS = {spec.name: spec for spec in zoo_heads.zoo_heads()}


def make_features(batch: int = 4) -> Features:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(batch, *shape, generator=generator) for shape in STAGES.values()]
    return Features(torch.randn(batch, POOLED, generator=generator), maps[-1], tuple(maps))


def build(name: str, *, dropout: float = 0.0, **options: Any) -> Head:
    spec = SPECS[name]
    request = HeadRequest(
        pooled_width=POOLED,
        map_width=MAP,
        outputs=OUTPUTS,
        dropout=dropout,
        criterion=make_criterion(),
        options=make_options(spec.options, options, owner=f"head {name}"),
        stages=STAGES,
    )
    return resolve_callable(spec.build)(request)


def linear_layers(head: Head) -> list[nn.Linear]:
    return [module for module in head.modules() if isinstance(module, nn.Linear)]


def test_the_plugin_fulfils_the_contract() -> None:
    check_plugin("zoo_heads")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"hidden": "7", "depth": "3", "hidden_dropout": "0.2"}),
        ("attention", {"heads": "4"}),
        ("cosine", {"scale": "3", "pooling": "max"}),
        ("linear", {"stages": "3"}),
        ("linear", {"stages": "4", "pooling": "catavgmax"}),
    ],
)
def test_the_heads_fulfil_the_contract_with_other_options(name: str, options: dict[str, str]) -> None:
    check_head(SPECS[name], options=options)


def test_listing_the_heads_imports_no_torch() -> None:
    code = "import sys, zoo_heads; zoo_heads.zoo_heads(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_registry_contains_the_four_heads() -> None:
    registry = load_registry()
    assert [registry.find(HEAD, name).name for name in SPECS] == [
        "heads/linear",
        "heads/mlp",
        "heads/cosine",
        "heads/attention",
    ]


@pytest.mark.parametrize("name", ["linear", "mlp", "cosine"])
@pytest.mark.parametrize(
    ("pooling", "width"),
    [("native", POOLED), ("avg", MAP), ("max", MAP), ("avgmax", MAP), ("catavgmax", 2 * MAP)],
)
def test_the_first_layer_has_the_width_of_the_pooled_features(name: str, pooling: str, width: int) -> None:
    head = build(name, pooling=pooling)
    first = next(parameter for parameter in head.parameters() if parameter.ndim == 2)
    assert first.shape[1] == width
    assert head(make_features()).shape == (4, OUTPUTS)


# linear and mlp


def test_linear_layers_start_with_xavier_weights_and_zero_bias() -> None:
    for head in (build("linear"), build("mlp", depth=2), build("attention")):
        for layer in linear_layers(head):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert not layer.bias.any()
            assert layer.weight.abs().max() <= bound * 1.000001
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.3)


def test_linear_is_a_matrix_product_with_the_pooled_features() -> None:
    head = build("linear")
    (layer,) = linear_layers(head)
    torch.testing.assert_close(head(make_features()), make_features().pooled @ layer.weight.T)


@pytest.mark.parametrize(
    ("count", "pooling", "stages", "width"),
    [
        (1, "native", (), POOLED),
        (2, "native", ("middle", "high"), 6 + MAP),
        (3, "max", ("low", "middle", "high"), 4 + 6 + MAP),
        (3, "catavgmax", ("low", "middle", "high"), 2 * (4 + 6 + MAP)),
    ],
)
def test_linear_reads_the_maps_of_several_stages(count: int, pooling: str, stages: tuple[str, ...], width: int) -> None:
    head = build("linear", stages=count, pooling=pooling).eval()
    assert head.stages == stages
    layer = head.output_layer
    assert layer is not None
    assert layer.in_features == width
    features = make_features()
    features = features._replace(stages=features.stages[3 - len(stages) :])
    pooled = head.pool(features)
    assert pooled.shape == (4, width)
    torch.testing.assert_close(head(features), layer(pooled))
    torch.testing.assert_close(head.classify(pooled), layer(pooled))


def test_linear_cannot_read_more_stages_than_there_are() -> None:
    with pytest.raises(
        ConfigError, match="option 'stages' is 4, but the backbone has 3 stages with feature maps"
    ) as error:
        build("linear", stages=4)
    assert error.value.hint == "'zoo info BACKBONE' lists the stages."


def test_the_candidates_of_linear_are_different_heads_with_the_default_among_them() -> None:
    spec = SPECS["linear"]
    heads = [build("linear", **candidate) for candidate in spec.candidates]
    assert [head.output_layer.in_features for head in heads if head.output_layer] == [POOLED, 18, 36]
    assert make_options(spec.options, spec.candidates[0], owner="head linear") == spec.options()


@pytest.mark.parametrize("name", ["mlp", "cosine", "attention"])
def test_only_a_linear_layer_is_the_output_layer(name: str) -> None:
    head = build(name).eval()
    assert head.output_layer is None
    assert head.stages == ()
    features = make_features()
    torch.testing.assert_close(head.classify(head.pool(features)), head(features))


@pytest.mark.parametrize(("activation", "module"), [("relu", nn.ReLU), ("gelu", nn.GELU), ("silu", nn.SiLU)])
def test_mlp_has_the_requested_layers(activation: str, module: type[nn.Module]) -> None:
    head = build("mlp", hidden=7, depth=3, activation=activation, hidden_dropout=0.25)
    shapes = [(layer.in_features, layer.out_features) for layer in linear_layers(head)]
    assert shapes == [(POOLED, 7), (7, 7), (7, 7), (7, OUTPUTS)]
    assert sum(isinstance(m, module) for m in head.modules()) == 3
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.0, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("name", list(SPECS))
def test_dropout_applies_to_the_input_of_the_head(name: str) -> None:
    head = build(name, dropout=0.999)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1)
        dropped, undropped = head(make_features()), head.eval()(make_features())
    assert not torch.allclose(dropped, undropped)
    zeros = head(Features(torch.zeros(4, POOLED), torch.zeros(4, MAP, 3, 2)))
    assert torch.allclose(dropped, zeros), "with almost everything dropped, the output is that of zero features"


# cosine


def test_cosine_depends_on_directions_only() -> None:
    classifier = CosineClassifier(POOLED, OUTPUTS, scale=10.0)
    x = make_features().pooled
    torch.testing.assert_close(classifier(x), classifier(1000 * x))
    with torch.no_grad():
        classifier.weight *= torch.arange(1, OUTPUTS + 1)[:, None]
    torch.testing.assert_close(
        classifier(x), 10 * nn.functional.cosine_similarity(x[:, None], classifier.weight, dim=2)
    )
    assert classifier(classifier.weight).diagonal().tolist() == pytest.approx([10.0] * OUTPUTS)


def test_cosine_learns_its_scale() -> None:
    head = build("cosine", scale=4)
    assert dict(head.named_parameters())["classifier.scale"].item() == 4
    head.loss(head(make_features()), torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in head.parameters())


def test_cosine_has_finite_gradients_for_zero_features() -> None:
    classifier = CosineClassifier(POOLED, OUTPUTS, scale=10.0)
    x = torch.zeros(2, POOLED, requires_grad=True)
    classifier(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


# attention


def test_attention_learns_its_queries() -> None:
    torch.manual_seed(0)
    head = build("attention")
    inputs, targets = make_features(), torch.tensor([0, 1, 2, 3])
    before = head.loss(head(inputs), targets).item()
    for _ in range(20):
        head.zero_grad()
        head.loss(head(inputs), targets).backward()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter -= parameter.grad  # gradient descent by hand: torch.optim takes seconds to import
    assert dict(head.named_parameters())["pooling.query"].any()
    assert head.loss(head(inputs), targets).item() < 0.2 * before


def test_the_number_of_queries_must_divide_the_channels() -> None:
    with pytest.raises(
        ConfigError, match="option 'heads' is 3, which does not divide the backbone's 8 channels"
    ) as error:
        build("attention", heads=3)
    assert error.value.hint == "Valid values: 1, 2, 4, 8."


# Options


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("linear", {"pooling": "average"}, "native | avg | max | avgmax | catavgmax"),
        ("linear", {"stages": "0"}, "option 'stages' is '0', out of bounds"),
        ("mlp", {"hidden": "0"}, "option 'hidden' is '0', out of bounds"),
        ("mlp", {"depth": "two"}, "not a whole number"),
        ("mlp", {"hidden_dropout": "1"}, "out of bounds"),
        ("cosine", {"scale": "-1"}, "out of bounds"),
        ("attention", {"pooling": "max"}, "head attention has no option 'pooling'"),
    ],
)
def test_an_invalid_option_is_an_error(name: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", list(SPECS))
def test_options_are_frozen_and_have_help(name: str) -> None:
    options = SPECS[name].options()
    for info in describe_options(type(options)):
        assert info.help
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, info.name, info.default)


@pytest.mark.parametrize(("name", "stages"), [*((name, 1) for name in SPECS), ("linear", 3)])
def test_heads_can_be_exported_for_any_batch_size(name: str, stages: int) -> None:
    head = (build(name, stages=stages) if stages > 1 else build(name)).eval()
    any_batch = {0: torch.export.Dim.AUTO}
    shapes = Features(any_batch, any_batch, (any_batch,) * len(STAGES))  # type: ignore[arg-type]
    exported = torch.export.export(head, (make_features(2),), dynamic_shapes=(shapes,)).module()
    for batch in (1, 3):
        torch.testing.assert_close(exported(make_features(batch)), head(make_features(batch)))
