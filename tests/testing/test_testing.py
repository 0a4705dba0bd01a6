"""The contract kit: it lets good plugins pass, and names what a broken one breaks."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import click
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import zoo
from zoo.errors import ExportError
from zoo.plugins.options import option
from zoo.testing import check_backbone, check_dataset, check_head, check_plugin

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 8
CARD = zoo.BackboneCard(preprocess=zoo.Preprocess(size=(12, 16), resize=16))


def breaks(check: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as caught:
        check()
    return str(caught.value)


# Backbones


class Net(zoo.StagedBackbone):
    """A good backbone; its children below each break one promise."""

    def __init__(self) -> None:
        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

        super().__init__({"stem": stage(3, 4), "middle": stage(4, 6), "last": stage(6, WIDTH)}, width=WIDTH)


def backbone(net: Callable[[], Any] = Net, **values: Any) -> zoo.BackboneSpec:
    return zoo.BackboneSpec(**({"name": "net", "build": lambda request: net(), "card": lambda: CARD} | values))


def test_a_good_backbone_passes_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    check_backbone(backbone())
    check_backbone(backbone(), size=(32, 24))
    assert torch.equal(torch.rand(3), wanted)


def test_one_stage_is_enough() -> None:
    check_backbone(backbone(lambda: zoo.StagedBackbone({"all": nn.Conv2d(3, 4, 3)}, width=4)))


def test_a_backbone_of_layer_normalisation_and_zero_scales_passes() -> None:
    class Zero(Net):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(WIDTH))
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, images: Tensor) -> zoo.Features:
            x = super().forward(images).map
            x = self.norm((x * (1 + self.scale[:, None, None])).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return zoo.Features(x.mean(dim=(2, 3)), x)

        def stages(self) -> tuple[zoo.Stage, ...]:
            return (*super().stages(), zoo.Stage("norm", ("scale", "norm.weight", "norm.bias")))

    check_backbone(backbone(Zero))


class NoBackbone(nn.Module):
    pass


class WrongWidth(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled[:, :4], features.map)


class FlatMap(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled, features.map.flatten(2))


class BareTuple(Net):
    def forward(self, images: Tensor) -> Any:
        return tuple(super().forward(images))


class TupleInTraining(Net):
    def forward(self, images: Tensor) -> Any:
        features = super().forward(images)
        return tuple(features) if self.training else features


class HalfPrecision(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled.bfloat16(), features.map)


class NotFinite(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled / 0, features.map)


class AlwaysDropping(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(nn.functional.dropout(features.pooled, 0.5, training=True), features.map)


class LooksAtNeighbours(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        return super().forward(images - images.mean(dim=0))


class Raises(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        raise TypeError("no such thing")


class NoGradient(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        with torch.no_grad():
            return super().forward(images)


class CutStem(Net):
    def forward(self, images: Tensor) -> zoo.Features:
        x = self.body["last"](self.body["middle"](self.body["stem"](images).detach()))
        return zoo.Features(x.mean(dim=(2, 3)), x)


class Forgetful(Net):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [torch.randn(WIDTH)]  # not registered, so not saved

    def forward(self, images: Tensor) -> zoo.Features:
        features = super().forward(images)
        return zoo.Features(features.pooled + self.hidden[0], features.map)


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Evaluating(Net):
    def __init__(self) -> None:
        super().__init__()
        self.eval()


class Double(Net):
    def __init__(self) -> None:
        super().__init__()
        self.double()


class Staged(Net):
    def __init__(self, change: Callable[[tuple[zoo.Stage, ...]], Any]) -> None:
        super().__init__()
        self.change = change

    def stages(self) -> Any:
        return self.change(super().stages())


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (NoBackbone, "build() must return a zoo.Backbone, not NoBackbone"),
        (WrongWidth, "features.pooled must be (N, pooled_width), here (3, 8); it is (3, 4)"),
        (FlatMap, "features.map must be (N, map_width, h, w), here (3, 8, h, w); it is (3, 8, 4)"),
        (BareTuple, "forward() must return zoo.Features in eval mode, not tuple"),
        (TupleInTraining, "forward() must return zoo.Features in train mode, not tuple"),
        (HalfPrecision, "features.pooled must be float32, not torch.bfloat16"),
        (NotFinite, "features.pooled must be finite"),
        (AlwaysDropping, "features.pooled must be the same every time in eval mode"),
        (LooksAtNeighbours, "must not depend on the other images of its batch"),
        (Raises, "forward() in eval mode on images (3, 3, 12, 16) raised TypeError: no such thing"),
        (NoGradient, "the backward pass raised RuntimeError"),
        (CutStem, "the gradient of the features must reach the stage 'stem'"),
        (Forgetful, "a fresh build with the saved state dict must give the same features"),
        (Frozen, "build() must return the module unfrozen"),
        (Evaluating, "build() must return the module in train mode"),
        (Double, "body.stem.0.weight must be float32, not torch.float64"),
        (lambda: Staged(list), "stages() must return a tuple of zoo.Stage"),
        (lambda: Staged(lambda stages: ()), "stages() must return a tuple of zoo.Stage, at least one"),
        (lambda: Staged(lambda stages: stages[1:]), "in none: ['body.stem.0.bias', 'body.stem.0.weight'"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", stages[0].parameters))), "in two: ['body.stem.0"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", ("x",)))), "unknown: ['x']"),
        (lambda: Staged(lambda stages: (*stages, zoo.Stage("more", ()))), "'more' must have parameters"),
        (lambda: Staged(lambda stages: (*stages, stages[0])), "the names of its stages must differ"),
        (
            lambda: Staged(lambda stages: stages[::-1]),
            "stages() must run from input to output, but 'last' is used after 'middle'",
        ),
    ],
)
def test_a_broken_backbone_is_told_what_the_contract_wants(net: Callable[[], Any], sentence: str) -> None:
    message = breaks(lambda: check_backbone(backbone(net)))
    assert message.startswith("backbone net: ")
    assert sentence in message


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": (12.0, 16)}, "preprocess.size must be (height, width) in pixels"),
        ({"size": (0, 16)}, "preprocess.size"),
        ({"resize": 0}, "preprocess.resize must be a length in pixels; it is 0"),
        ({"mean": (123.7, 116.3, 103.5)}, "in units of x / 255 (0 to 1, not 0 to 255)"),
        ({"std": (0.0, 0.2, 0.2)}, "in units of x / 255"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    card = zoo.BackboneCard(preprocess=dataclasses.replace(CARD.preprocess, **values))
    assert sentence in breaks(lambda: check_backbone(backbone(card=lambda: card)))


def test_a_card_of_another_type_is_refused() -> None:
    spec = backbone(card=lambda: CARD.preprocess)
    assert "card() must return a BackboneCard, not Preprocess" in breaks(lambda: check_backbone(spec))


# Options


@dataclass(frozen=True)
class Silent:
    depth: int = 3


@dataclass(frozen=True)
class OutOfBounds:
    depth: int = option(0, minimum=1, help="layers")


@dataclass(frozen=True)
class Needed:
    depth: int = option(minimum=1, help="layers")


@dataclass(frozen=True)
class Unreadable:
    depth: Nowhere = option(1, help="layers")  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Thawed:
    depth: int = option(1, help="layers")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Silent, "the option 'depth' must have a line of help"),
        (OutOfBounds, "checking the default of the option 'depth'"),
        (Needed, "needs the option 'depth'"),
        (Unreadable, "reading its options raised NameError: name 'Nowhere' is not defined"),
        (Thawed, "its options must be a frozen dataclass"),
        (dict, "its options must be a frozen dataclass"),
    ],
)
def test_options_that_break_the_contract_are_refused(options: Any, sentence: str) -> None:
    assert sentence in breaks(lambda: check_backbone(backbone(options=options)))


def test_an_option_without_default_is_given_to_the_check() -> None:
    check_backbone(backbone(options=Needed), options={"depth": 2})


# Heads


class GoodHead(zoo.Head):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request.criterion)
        self.dropout = nn.Dropout(request.dropout)
        self.fc = nn.Linear(request.pooled_width, request.outputs)

    def forward(self, features: zoo.Features) -> Tensor:
        return self.fc(self.dropout(features.pooled))  # type: ignore[no-any-return]


class ZeroHead(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        nn.init.zeros_(self.fc.weight)


class OneTooMany(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, outputs=request.outputs + 1))


class MixesWidths(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, pooled_width=request.map_width))


class OwnCriterion(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.criterion = dataclasses.replace(request.criterion, label_smoothing=0.5)


class LossPerImage(GoodHead):
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return logits.sum(dim=1)


class IndicesOnly(GoodHead):
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.nll_loss(logits.log_softmax(dim=1), targets)


class LogitsAsProbabilities(GoodHead):
    def probabilities(self, logits: Tensor) -> Tensor:
        return 10 * logits


class Detached(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(zoo.Features(*(tensor.detach() for tensor in features)))


class Unused(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.spare = nn.Linear(2, 2)


class NoDropout(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(dataclasses.replace(request, dropout=0.0))


class Standardising(GoodHead):
    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(features) - features.pooled.mean()


class ForgetfulHead(GoodHead):
    def __init__(self, request: zoo.HeadRequest) -> None:
        super().__init__(request)
        self.hidden = [torch.randn(request.outputs)]

    def forward(self, features: zoo.Features) -> Tensor:
        return super().forward(features) + self.hidden[0]


def head(build: Any, **values: Any) -> zoo.HeadSpec:
    return zoo.HeadSpec(**({"name": "mine", "build": build} | values))


@pytest.mark.parametrize("build", [GoodHead, ZeroHead])
def test_a_good_head_passes(build: Any) -> None:
    check_head(head(build))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda request: nn.Linear(3, 3), "build() must return a zoo.Head, not Linear"),
        (OneTooMany, "forward() must return logits (N, outputs), here (4, 2); it returned (4, 3)"),
        (MixesWidths, "forward() on pooled (4, 48) and map (4, 32, 3, 2) features raised RuntimeError"),
        (OwnCriterion, "build() must pass request.criterion on"),
        (LossPerImage, "loss() with class indices must return one finite number"),
        (IndicesOnly, "loss() with soft targets raised"),
        (LogitsAsProbabilities, "probabilities() must return (N, outputs) from 0 to 1"),
        (Detached, "the gradient of its loss must reach the features"),
        (Unused, "not reached: ['spare.weight', 'spare.bias']"),
        (NoDropout, "request.dropout must be applied"),
        (Standardising, "logits of an image must not depend on the other images"),
        (ForgetfulHead, "a fresh build with the saved state dict must give the same logits"),
    ],
)
def test_a_broken_head_is_told_what_the_contract_wants(build: Any, sentence: str) -> None:
    message = breaks(lambda: check_head(head(build)))
    assert message.startswith("head mine: ")
    assert sentence in message


@dataclass(frozen=True)
class Kinds:
    kind: Literal["good", "bad"] = option("good", help="which")


def test_every_choice_of_an_option_is_built() -> None:
    def build(request: zoo.HeadRequest) -> zoo.Head:
        if request.options.kind == "bad":
            raise NotImplementedError("later")
        return GoodHead(request)

    assert "raised NotImplementedError: later" in breaks(lambda: check_head(head(build, options=Kinds)))


# Datasets


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


SAMPLES = tuple(zoo.Sample(png(i), i % 2, f"{i}.png") for i in range(6))
IMAGES = zoo.ImageSet(name="reds", classes=("dark", "bright"), train=SAMPLES[:4], test=SAMPLES[4:])


def dataset(load: Callable[[zoo.DatasetRequest], Any]) -> zoo.DatasetSpec:
    return zoo.DatasetSpec(name="reds", load=load)


def test_a_good_dataset_passes(tmp_path: Path) -> None:
    asked: list[Path] = []

    def load(request: zoo.DatasetRequest) -> zoo.ImageSet:
        asked.append(request.cache)
        file = tmp_path / "a.png"
        file.write_bytes(png(9))
        return dataclasses.replace(IMAGES, val=(zoo.Sample(file, 0, "a.png"),))

    check_dataset(dataset(load), cache=tmp_path)
    assert asked == [tmp_path / "reds"] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "a/b"}, "the name of its ImageSet must be fit for a file name; it is 'a/b'"),
        ({"train": ()}, "train must not be empty"),
        ({"classes": ["dark", "bright"]}, "classes must be a tuple of names"),
        ({"classes": ("one",)}, "it must have two classes at least; it has 1"),
        ({"classes": ("one", "one")}, "the names of its classes must differ"),
        ({"classes": ("dark", "bright", "blue")}, "train must show every class; it lacks ['blue']"),
        ({"test": (zoo.Sample(png(1), 2, "x"),)}, "labels must be from 0 to 1; that of 'x' in test is 2"),
        ({"test": (zoo.Sample(png(1), -1, "x"),)}, "labels must be from 0 to 1; that of 'x' in test is -1"),
        ({"test": SAMPLES[:1]}, "the names of its samples must differ, in all parts together"),
        ({"val": (zoo.Sample("a.png", 0, "x"),)}, "source must be a Path or bytes; that of 'x' is str"),
        ({"val": (zoo.Sample(b"no image", 0, "x"),)}, "reading the image 'x' with Pillow raised"),
        ({"val": (zoo.Sample(Path("/nowhere.png"), 0, "x"),)}, "raised FileNotFoundError"),
        ({"val": ((png(1), 0, "x"),)}, "val must be a tuple of zoo.Sample"),
    ],
)
def test_a_broken_dataset_is_told_what_the_contract_wants(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    images = dataclasses.replace(IMAGES, **changes)
    message = breaks(lambda: check_dataset(dataset(lambda request: images), cache=tmp_path))
    assert message.startswith("dataset reds: ")
    assert sentence in message


def test_a_dataset_that_changes_between_loads_is_refused(tmp_path: Path) -> None:
    orders = iter([IMAGES, dataclasses.replace(IMAGES, train=IMAGES.train[::-1])])
    spec = dataset(lambda request: next(orders))
    assert "two loads must give the same samples" in breaks(lambda: check_dataset(spec, cache=tmp_path))


def test_a_dataset_that_raises_or_returns_something_else_is_refused(tmp_path: Path) -> None:
    assert "load() raised StopIteration" in breaks(
        lambda: check_dataset(dataset(lambda r: next(iter(()))), cache=tmp_path)
    )
    assert "not list" in breaks(lambda: check_dataset(dataset(lambda request: []), cache=tmp_path))


# Plugins


def plugin_of(**hooks: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: zoo.hookimpl(hook) for name, hook in hooks.items()})


def family(**values: Any) -> zoo.BackboneFamily:
    defaults: dict[str, Any] = {
        "name": "nets",
        "names": lambda: ["net", "huge"],
        "resolve": lambda name: {"net": backbone(), "huge": backbone(Raises, name="huge")}.get(name),
    }
    return zoo.BackboneFamily(**(defaults | values))


def opens(load: Callable[[zoo.FormatRequest], Any]) -> zoo.FormatSpec:
    return zoo.FormatSpec(name="net", suffixes=(".net",), load=load)


def checks(run: Callable[[], Any]) -> zoo.CheckSpec:
    return zoo.CheckSpec(name="net", run=run)


def finding(status: Any) -> zoo.Finding:
    return zoo.Finding(about="speed", status=status, text="It is there.")


def refuse(request: zoo.FormatRequest) -> Any:
    raise ExportError(f"{request.path} is broken.")


def test_an_object_or_module_is_checked_with_all_that_it_offers(tmp_path: Path) -> None:
    hooks = {
        "zoo_backbones": lambda: [backbone(), family()],
        "zoo_heads": lambda: [head(GoodHead)],
        "zoo_datasets": lambda: [dataset(lambda request: IMAGES)],
        "zoo_formats": lambda: [opens(refuse)],
        "zoo_checks": lambda: [checks(lambda: [finding("warning")])],
        "zoo_commands": lambda cli: cli.add_command(click.Command("greet")),
    }
    check_plugin(plugin_of(**hooks))
    module = ModuleType("zoo_mine")
    vars(module).update(vars(plugin_of(**hooks)))
    check_plugin(module, cache=tmp_path, family_names=["net"])


@pytest.mark.parametrize(
    ("hooks", "sentence"),
    [
        ({"zoo_backbones": lambda: [backbone(WrongWidth)]}, "backbone net: features.pooled must be"),
        ({"zoo_heads": lambda: [head(Detached)]}, "head mine: the gradient of its loss"),
        ({"zoo_datasets": lambda: [dataset(lambda r: IMAGES.train)]}, "dataset reds: load() must return"),
        ({"zoo_heads": lambda: "linear"}, "it must load, but zoo_heads returned str, not a list"),
        (
            {"zoo_formats": lambda: [opens(lambda request: None)]},
            "must answer a file of empty with a ZooError, not open it",
        ),
        ({"zoo_formats": lambda: [opens(lambda request: 1 / 0)]}, "with a ZooError, not ZeroDivisionError"),
        ({"zoo_checks": lambda: [checks(list)]}, "check net: run() must return a list of Finding, at least one"),
        ({"zoo_checks": lambda: [checks(lambda: 1 / 0)]}, "run() raised ZeroDivisionError"),
        ({"zoo_checks": lambda: [checks(lambda: print("hm"))]}, "run() must print nothing"),
        ({"zoo_checks": lambda: [checks(lambda: [finding("bad")])]}, "there is no status 'bad'"),
        ({"zoo_checks": lambda: [checks(lambda: [finding("problem")])]}, "the problem 'speed' must come with advice"),
        ({"zoo_commands": lambda cli: None}, "zoo_commands(cli) must add a command"),
        ({"zoo_commands": lambda cli: cli.add_lazy("x", "zoo_nowhere:x", "Help.")}, "ModuleNotFoundError"),
        ({"zoo_backbones": lambda: [family(names=list)]}, "names() must return a list of names, at least one"),
        ({"zoo_backbones": lambda: [family(names=lambda: ["net", "net"])]}, "must not tell a name twice"),
        ({"zoo_backbones": lambda: [family(names=lambda: ["no"])]}, "it must resolve the name 'no'"),
        ({"zoo_backbones": lambda: [family(resolve=lambda name: backbone())]}, "must return None for a name"),
    ],
)
def test_a_broken_offer_breaks_the_plugin(hooks: dict[str, Any], sentence: str) -> None:
    assert sentence in breaks(lambda: check_plugin(plugin_of(**hooks)))


def test_offers_can_be_skipped() -> None:
    check_plugin(
        plugin_of(
            zoo_backbones=lambda: [backbone(Raises, name="huge"), family(names=list)],
            zoo_heads=lambda: [head(Detached)],
            zoo_datasets=lambda: [dataset(lambda request: pytest.fail("it is skipped"))],
            zoo_formats=lambda: [zoo.FormatSpec(name="mine", suffixes=(".x",), load=lambda request: pytest.fail("no"))],
            zoo_checks=lambda: [zoo.CheckSpec(name="mine", run=lambda: pytest.fail("it is skipped"))],
        ),
        skip={"huge", "nets", "mine", "reds"},
    )


def test_a_name_of_a_family_is_checked_in_full() -> None:
    plugin = plugin_of(zoo_backbones=lambda: [family()])
    assert "backbone huge: forward()" in breaks(lambda: check_plugin(plugin, family_names=["huge"]))
    assert "must resolve the name 'other'" in breaks(lambda: check_plugin(plugin, family_names=["other"]))


def test_a_plugin_that_cannot_be_imported_is_told() -> None:
    assert "plugin zoo_nowhere: it must load, but ModuleNotFoundError" in breaks(lambda: check_plugin("zoo_nowhere"))


def test_a_plugin_that_imports_torch_at_its_top_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo_heavy.py").write_text(
        "import torch\nimport zoo\n\n@zoo.hookimpl\ndef zoo_heads():\n    return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = breaks(lambda: check_plugin("zoo_heavy"))
    assert message.startswith("plugin zoo_heavy: it imports torch when the zoo looks around")
    assert "from __future__ import annotations" in message
