import numpy as np
from PIL import Image

from zoo.report.stress import Curve, Flip, write_classes, write_flips, write_stress_curves


def curve(model, *accuracies):
    lows, highs = ([min(1.0, max(0.0, each + by)) for each in accuracies] for by in (-0.1, 0.1))
    return Curve(model=model, accuracies=accuracies, lows=tuple(lows), highs=tuple(highs))


def colours(path):
    with Image.open(path) as image:
        return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)[::7].tolist()}, image.size


def test_each_kind_has_a_panel_and_each_model_a_colour(tmp_path):
    panels = {f"kind {number}": [curve("one", 0.9, 0.5), curve("two", 0.8, 0.7)] for number in range(6)}
    path = write_stress_curves(tmp_path / "curves.png", panels, title="Two models")
    found, (_, height) = colours(path)
    assert {(0, 114, 178), (213, 94, 0)} <= found
    few = write_stress_curves(tmp_path / "few.png", {"mirror": [curve("one", 0.9, 0.5)]}, title="One model")
    found, (_, less) = colours(few)
    assert (213, 94, 0) not in found
    assert less < height


def test_a_class_that_loses_everything_is_dark_and_many_classes_are_cut(tmp_path):
    losses = {f"class {number}": [1 - number / 40, 0.0] for number in range(40)}
    kinds = ["noise", "fog"]
    path = write_classes(tmp_path / "classes.png", losses, kinds=kinds, clean=[0.9] * 40, title="run")
    found, (_, height) = colours(path)
    assert any(sum(colour) < 200 and colour[0] > 100 for colour in found)  # dark red
    few = write_classes(
        tmp_path / "few.png", {"only": [0.0, 0.0]}, kinds=kinds, clean=[1.0], title="$math$ \N{PILE OF POO}"
    )
    assert colours(few)[1][1] < height < 1200


def test_a_flip_is_shown_as_it_is_and_changed(tmp_path):
    red, blue = (np.full((30, 20, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    flip = Flip(name="a/1.jpg", photo=red, changed=blue, strength=2, label=0, predicted=1, probability=0.8)
    found, _ = colours(write_flips(tmp_path / "flips.png", [flip], classes=("cat", "dog"), title="run"))
    assert {(200, 0, 0), (0, 0, 200)} <= found
