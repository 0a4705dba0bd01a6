"""Several backbones as one: their features side by side. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.build import build_backbone
from zoo.models.features import measure_stages, measure_widths
from zoo.plugins.contracts import Backbone, Features, Stage
from zoo.plugins.registry import get_card
from zoo_joined.family import find_members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.plugins.specs import BackboneRequest
    from zoo.preprocess import Preprocess

_PROJECTION = 3  # times the width of the stage before


class Renormalise(nn.Module):
    """Turns images normalised as one network wants them into those that another one wants.

    Args:
        have: How the images are normalised.
        want: How they are to be.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, have: Preprocess, want: Preprocess) -> None:
        super().__init__()
        ours, theirs = (torch.tensor([each.mean, each.std]) for each in (have, want))
        # Known from the names of the members, so they are no weights.
        self.register_buffer("factor", (ours[1] / theirs[1]).view(3, 1, 1), persistent=False)
        self.register_buffer("offset", ((ours[0] - theirs[0]) / theirs[1]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(N, 3, H, W)`` to ``(N, 3, H, W)``."""
        return images * self.factor + self.offset


class Join(nn.Module):
    """Puts maps side by side, as channels of one; those of other sizes are resized to the first."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps several ``(N, C_i, h_i, w_i)`` to one ``(N, sum of C_i, h_0, w_0)``."""
        size = maps[0].shape[2:]
        same = [each if each.shape[2:] == size else F.interpolate(each, (size[0], size[1])) for each in maps]
        return torch.cat(same, dim=1)


class JoinedBackbone(Backbone):
    """Backbones that see the same images. Its stages are those of its members with maps of one size, together.

    Args:
        members: The backbones.
        inputs: What turns the images into the input of each member.
        image_size: (height, width) in pixels.
    """

    def __init__(
        self, members: Sequence[Backbone], inputs: Sequence[nn.Module], *, image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.members, self.inputs = nn.ModuleList(members), nn.ModuleList(inputs)
        grouped = [_group_stages(member, measure_stages(member, image_size)) for member in members]
        sizes = sorted({size for levels in grouped for size in levels}, reverse=True)
        names = {size: f"level{number}" for number, size in enumerate(sizes, start=1)}
        self._stages = tuple(
            Stage(
                names[size],
                tuple(
                    f"members.{number}.{name}"
                    for number, levels in enumerate(grouped)
                    if size in levels
                    for name in levels[size].parameters
                ),
            )
            for size in sizes
        )
        # By member: of each level, the stage whose map it has.
        self._read = [{names[size]: stage.name for size, stage in levels.items() if stage.name} for levels in grouped]
        for member, read in zip(members, self._read, strict=True):
            member.tapped_stages = tuple(read.values())
        mapped = [name for name in names.values() if any(name in read for read in self._read)]
        self.joins, self.join = nn.ModuleDict({name: Join() for name in mapped}), Join()

    def forward(self, images: Tensor) -> Features:
        """Maps ``(N, 3, H, W)``, normalised for the first member, to the features of all members side by side."""
        pairs = zip(self.members, self.inputs, strict=True)
        features: list[Features] = [member.extract(convert(images)) for member, convert in pairs]  # type: ignore[operator]
        maps: dict[str, list[Tensor]] = {}
        for read, each in zip(self._read, features, strict=True):
            for level, stage_map in zip(read, each.stages, strict=True):
                maps.setdefault(level, []).append(stage_map)
        for level, own in maps.items():
            self.joins[level](own)  # for whoever taps this stage
        return Features(
            torch.cat([each.pooled for each in features], dim=1), self.join([each.map for each in features])
        )

    def stages(self) -> tuple[Stage, ...]:
        """Returns the levels: of all members, the stages whose maps have one size."""
        return self._stages

    def stage_modules(self) -> dict[str, nn.Module]:
        """Returns what joins the maps of each level."""
        return dict(self.joins.items())


def build(name: str, request: BackboneRequest) -> Backbone:
    """Builds a joined backbone; see `zoo.plugins.specs.BackboneSpec.build`.

    Raises:
        ConfigError: A member does not accept the image size.
        WeightsError: The pretrained weights of a member are not available.
    """
    offers = find_members(name)
    members = [
        build_backbone(
            offer,
            pretrained=request.pretrained,
            image_size=request.image_size,
            options=offer.make_options({}, owner=f"backbone {offer.name}"),
        )
        for offer in offers
    ]
    cards = [get_card(offer).preprocess for offer in offers]
    have: Any = max(cards, key=lambda each: each.size)  # as in `zoo_joined.family.make_card`
    backbone = JoinedBackbone(members, [Renormalise(have, want) for want in cards], image_size=request.image_size)
    backbone.pooled_width, backbone.map_width = measure_widths(
        backbone, request.image_size, owner=name, hint="Choose another size with --image-size."
    )
    return backbone


def _group_stages(member: Backbone, shapes: Mapping[str, tuple[int, int, int]]) -> dict[tuple[int, int], Stage]:
    """Returns the stages of a backbone by the size (h, w) of their maps: all parameters, and the name of one to read.

    That is the last of a size; but a last stage of all that is much wider than the one before only prepares the pooling
    for the original classes. Stages without a map belong to the one before. The name is empty if none has a map.
    """
    levels: dict[tuple[int, int], Stage] = {}
    stages = member.stages()
    size = next(((height, width) for _, height, width in shapes.values()), (1, 1))
    for stage in stages:
        width, *found = shapes.get(stage.name, (0, *size))
        size = (found[0], found[1])
        name, parameters = levels.get(size, Stage("", ()))
        if width and (not name or stage is not stages[-1] or width <= _PROJECTION * shapes[name][0]):
            name = stage.name
        levels[size] = Stage(name, (*parameters, *stage.parameters))
    return levels
