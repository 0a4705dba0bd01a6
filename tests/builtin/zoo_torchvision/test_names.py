import torchvision

from zoo_torchvision import zoo_backbones
from zoo_torchvision.names import FAMILIES
from zoo_torchvision.structure import STRUCTURES


def test_the_names_are_those_of_torchvision():
    assert sorted(spec.name for spec in zoo_backbones()) == torchvision.models.list_models(module=torchvision.models)
    assert {family.key for family in FAMILIES} == {*STRUCTURES, "vit"}
