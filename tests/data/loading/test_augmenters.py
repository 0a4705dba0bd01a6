import pytest
import torch
from fakes import PREPROCESS, FakePlugin, make_registry

import zoo
from zoo.data.loading.augmenters import build_augmenters, build_mixers, to_uint8
from zoo.errors import ConfigError, PluginError
from zoo.plugins.kinds import AUGMENTATION

IMAGES = torch.randint(0, 256, (5, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(5)


class Brighten:
    """Adds to each image what it draws."""

    def __init__(self, request):
        self.request = request

    def draw(self, count, generator):
        return torch.rand(count, generator=generator)

    def apply(self, images, numbers):
        return (images.float() + 50 * numbers[:, None, None, None]).clamp(0, 255)


def registry_of(build, **spec):
    return make_registry(FakePlugin(augmentations=[zoo.AugmentationSpec(name="mine", build=build, **spec)]))


def make(build, **spec):
    choices = registry_of(build, **spec).choose_all(AUGMENTATION, ["mine"], {})
    builders = build_mixers if spec.get("mixes_labels") else build_augmenters
    (built,) = builders(choices, PREPROCESS, classes=5)
    return built


def returning(result):
    class Returns(Brighten):
        def apply(self, images, numbers):
            return result(images)

    return Returns


def test_the_request_describes_the_images():
    requests = []
    make(lambda request: requests.append(request) or Brighten(request))
    (request,) = requests
    assert request.image_size == PREPROCESS.size
    assert request.fill == (127.5, 127.5, 127.5)
    assert request.classes == 5
    assert request.options == zoo.NoOptions()


def test_images_are_rounded_unless_an_augmentation_takes_them_as_they_are():
    seen = []
    inputs = returning(lambda images: seen.append(images.dtype) or images)
    halves = IMAGES.float() + 0.25
    make(inputs).apply(halves, torch.zeros(5))
    make(inputs, takes_float=True).apply(halves, torch.zeros(5))
    assert seen == [torch.uint8, torch.float32]


def test_rounding_keeps_values_in_their_range():
    values = torch.tensor([-1e-3, 0.4, 0.6, 254.7, 255.2]).view(1, 1, 1, 5)
    assert to_uint8(values).flatten().tolist() == [0, 0, 1, 255, 255]


def test_a_function_of_one_image_gets_a_generator_that_belongs_to_its_photo():
    def brighten(image, generator):
        assert image.shape == (1, 3, 8, 6)
        return (image.float() + 50 * torch.rand((), generator=generator)).clamp(0, 255)

    augmenter = make(lambda request: brighten, per_image=True)
    numbers = augmenter.draw(5, torch.Generator().manual_seed(3))
    result = augmenter.apply(IMAGES, numbers)
    assert len(numbers.unique()) == 5
    assert torch.equal(augmenter.apply(IMAGES[3:4], numbers[3:4]), result[3:4])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda images: images[:, :1], r"it returned \(5, 1, 8, 6\) for images \(5, 3, 8, 6\)"),
        (lambda images: images.double(), "it returned float64; images must be uint8, or float32 from 0 to 255"),
        (lambda images: None, "it returned NoneType, not images"),
        (lambda images: images.to("meta"), "it returned images on meta; they were on cpu"),
        (lambda images: images @ images, "RuntimeError: "),
        (lambda images: exit(3), "SystemExit: 3"),
    ],
    ids=["shape", "type", "nothing", "device", "error", "exit"],
)
def test_what_an_augmentation_does_wrong_has_the_name_of_its_plugin(result, reason):
    with pytest.raises(PluginError, match=f"The plugin fake:fake failed while augmenting images with 'mine': {reason}"):
        make(returning(result)).apply(IMAGES, torch.zeros(5))


@pytest.mark.parametrize("numbers", [torch.zeros(()), torch.zeros(4), None])
def test_numbers_of_the_wrong_shape_have_the_name_of_their_plugin(numbers):
    class Draws(Brighten):
        def draw(self, count, generator):
            return numbers

    with pytest.raises(
        PluginError, match=r"failed while drawing numbers with 'mine': draw\(\) returned .*not a tensor"
    ):
        make(Draws).draw(5, torch.Generator())


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda images, targets: images, "it returned Tensor, not a tuple of images and targets"),
        (
            lambda images, targets: (images, targets.argmax(1)),
            r"it returned targets \(5,\) int64 on cpu; they were \(5, 5",
        ),
        (lambda images, targets: (images[:2], targets), r"it returned images \(2, 3, 8, 6\)"),
    ],
)
def test_what_a_mixing_augmentation_does_wrong_has_the_name_of_its_plugin(result, reason):
    mixer = make(lambda request: lambda images, targets, random: result(images, targets), mixes_labels=True)
    with pytest.raises(PluginError, match=f"The plugin fake:fake failed while mixing images with 'mine': {reason}"):
        mixer.mix(IMAGES.float(), TARGETS, seed=(0, 1))


def test_errors_that_are_meant_for_the_user_and_missing_memory_pass():
    for error in (ConfigError("Too strong."), MemoryError(), torch.OutOfMemoryError(), KeyboardInterrupt()):

        def fail(images, error=error):
            raise error

        with pytest.raises(type(error)):
            make(returning(fail)).apply(IMAGES, torch.zeros(5))
