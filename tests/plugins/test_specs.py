import dataclasses
import subprocess
import sys

import pytest

from zoo.plugins.kinds import KINDS
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import BackboneSpec, HeadSpec, ImageSet, Sample


def test_a_spec_has_no_options_and_no_check_by_default():
    spec = BackboneSpec(name="net", build="acme:build", card="acme:card")
    assert (spec.summary, spec.options) == ("", NoOptions)
    spec.check_pretrained()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_specs_are_frozen_and_have_keyword_arguments_only(kind):
    with pytest.raises(TypeError):
        kind.spec("net")
    assert kind.spec.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind.spec))


def test_values_cannot_be_changed():
    images = ImageSet(name="a", classes=("x", "y"), train=(Sample(b"", 0, "1"),))
    for value, field in (
        (HeadSpec(name="h", build="acme:build"), "name"),
        (images, "train"),
        (images.train[0], "label"),
    ):
        with pytest.raises(AttributeError):
            setattr(value, field, None)


def test_specs_import_neither_torch_nor_numpy():
    code = "import sys, zoo.plugins.specs, zoo.plugins.kinds; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
