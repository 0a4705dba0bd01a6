import pytest
from fakes import FakePlugin, make_registry
from plugin_helpers import plugin_of

import zoo
from zoo.config import make_config, read_settings
from zoo.errors import ConfigError, PluginError, UnknownNameError
from zoo.plugins.registry import load_registry
from zoo.recipes import find_recipe, is_recipe_file, overlay


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file in the working directory, and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="mine.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write_file


def config_of(recipe, *, plugin=None, **values):
    registry = load_registry(extra={"acme": plugin} if plugin else None)
    return make_config(data="hotdog", recipe=recipe, registry=registry, **values)


def offering(*recipes):
    return plugin_of(zoo_recipes=lambda: list(recipes))


def test_given_values_take_precedence_over_the_recipe():
    config = config_of("d2l", lr="0.1", epochs=1, vflip=0, weights="none")
    assert (config.lr, config.epochs, config.vflip) == (0.1, 1, 0.0)
    assert config.batch_size == 128


def test_an_unknown_recipe_is_reported_with_close_matches():
    with pytest.raises(UnknownNameError, match="There is no recipe 'd2ll'") as caught:
        config_of("d2ll")
    assert "Did you mean recipes/d2l?" in caught.value.hint
    assert "ends with .toml" in caught.value.hint


def test_a_recipe_of_a_plugin_extends_another_and_both_are_found():
    base = zoo.RecipeSpec(name="base", values={"lr": 0.1, "epochs": 7}, from_scratch={"lr": 0.5, "ema": None})
    fast = zoo.RecipeSpec(name="fast", extends="base", values={"epochs": 2}, frozen={"epochs": 1})
    plugin = offering(base, fast)
    config = config_of("fast", plugin=plugin)
    assert (config.lr, config.epochs) == (0.1, 2)
    scratch = config_of("acme/fast", plugin=plugin, weights="none")
    assert (scratch.lr, scratch.epochs, scratch.ema) == (0.5, 2, None)
    assert config_of("fast", plugin=plugin, freeze="all").epochs == 1
    chain = find_recipe("fast", load_registry(extra={"acme": plugin}))
    assert [recipe.offer.name for recipe in chain] == ["acme/base", "acme/fast"]


def test_a_file_is_a_recipe(write):
    name = write(
        'summary = "Mine"\nextends = "default"\nbackbone = "resnet18"\nepochs = 9\nclip_grad = "none"\nprobe = "no"\n'
        'head = "mlp"\n[head_options]\nhidden = 64\n[from_scratch]\nlr = 1e-2\n[frozen]\nepochs = 3\n'
    )
    config = config_of(f"./{name}")
    assert (config.backbone, config.head, config.head_options) == ("resnet18", "mlp", {"hidden": 64})
    assert (config.epochs, config.clip_grad, config.probe, config.patience) == (9, None, False, 1)
    assert config.recipe == "./mine.toml"
    assert config_of(name, weights="none").lr == 1e-2
    frozen = config_of(name, freeze="all")
    assert (frozen.epochs, frozen.optimizer) == (3, "lbfgs")


def test_what_a_file_sets_beats_every_table_of_what_it_extends(write):
    name = write('extends = "default"\nlr = 0.25\nweights = "none"\n')
    config = config_of(name)
    assert (config.weights, config.lr, config.freeze, config.probe) == ("none", 0.25, "none", False)


def test_options_of_the_same_part_are_merged_and_those_of_another_are_not(write):
    name = write('head = "mlp"\n[head_options]\nhidden = 64\n')
    assert config_of(name, head_options={"dropout": 0.5}).head_options == {"hidden": 64, "dropout": 0.5}
    assert config_of(name, head_options={"hidden": 8}).head_options == {"hidden": 8}
    assert config_of(name, head="linear").head_options == {}
    assert overlay({"head": "a", "head_options": {"x": 1}}, {"head": "a"})["head_options"] == {"x": 1}


def test_files_extend_one_another_by_paths_beside_them(write):
    write("lr = 0.5\nepochs = 4\n", "team/base.toml")
    name = write('extends = "base.toml"\nepochs = 3\nweights = "./best.safetensors"\n', "team/mine.toml")
    config = config_of(name)
    assert (config.lr, config.epochs, config.weights) == (0.5, 3, "./team/best.safetensors")


def test_recipes_in_a_circle_are_refused(write):
    write('epochs = 2\nextends = "b.toml"\n', "a.toml")
    write('extends = "./a.toml"\n', "b.toml")
    with pytest.raises(ConfigError, match=r"line \d: recipes extend one another in a circle") as caught:
        config_of("a.toml")
    assert "a.toml extends ./b.toml extends ./a.toml" in caught.value.message
    loop = zoo.RecipeSpec(name="loop", extends="loop")
    with pytest.raises(PluginError, match=r"acme.*in a circle: loop extends loop"):
        config_of("loop", plugin=offering(loop))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("\n# rates\nlearnin_rate = 1\n", "mine.toml, line 3: there is no option 'learnin_rate'", "--help"),
        ("epochs = 3\n\nepochz = 4\n", "mine.toml, line 3: there is no option 'epochz'", "Did you mean epochs?"),
        (
            'metric = [\n "f1",\n]\nepochs = "many"\n',
            "mine.toml, line 4: option 'epochs' is 'many', not a whole number",
            "int",
        ),
        ("epochs = 0\n", "mine.toml, line 1: option 'epochs' is 0, out of bounds", ">= 1"),
        ("epochs = 2.5\n", "line 1: option 'epochs' is 2.5, not a whole number", ""),
        ("epochs = 2026-01-01\n", "line 1: option 'epochs' is datetime.date", ""),
        ("lr = {x = 1}\n", "line 1: option 'lr' is {'x': 1}, not a finite number", ""),
        ("lr = nan\n", "line 1: option 'lr' is nan, not a finite number", ""),
        ('cache = "memry"\n', "line 1: option 'cache' is 'memry'", "Did you mean memory?"),
        ("[from_scratch]\n\nlr = -1\n", "line 3: option 'lr' is -1", ""),
        ('epochs = 1\n[from_scratch]\nweights = "none"\n', r"line 3: \[from_scratch\] cannot set 'weights'", "outside"),
        ('[frozen]\nfreeze = "all"\n', r"line 2: \[frozen\] cannot set 'freeze'", "outside"),
        ('data = "hotdog"\n', "line 1: a recipe cannot set 'data'", "--config"),
        ('recipe = "d2l"\n', "line 1: a recipe cannot set 'recipe'", "extends"),
        ("from_scratch = 1\n", "line 1: 'from_scratch' is not a table", ""),
        ("head_options = 1\n", "line 1: 'head_options' is 1, not a dict", ""),
        ("extends = 1\n", "line 1: 'extends' is 1, not text", ""),
        ('\nextends = "defualt"\n', "line 2: There is no recipe 'defualt'", "Did you mean recipes/default"),
        ('extends = "no.toml"\n', r"line 1: There is no file (\./)?no.toml", ""),
        ("lr = \n", "mine.toml, line 1: Invalid value", ""),
        ("epochs = 1\nhead = linear\n", "mine.toml, line 2: Invalid value", "quotes"),
        ("epochs = 1\nepochs = 2\n", "mine.toml, line 2: Cannot overwrite a value", ""),
        (b'summary = "ok"\nhead = "\xe4"\n', "mine.toml, line 2: it is not UTF-8 text", "UTF-8"),
    ],
)
def test_a_wrong_file_is_reported_with_its_line(write, text, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        config_of(write(text))
    assert hint in caught.value.hint


def test_a_missing_file_suggests_another(write):
    write("epochs = 1\n", "mine.toml")
    with pytest.raises(ConfigError, match=r"There is no file mien\.toml") as caught:
        config_of("mien.toml")
    assert caught.value.hint == "Did you mean mine.toml?"
    write("", "folder.toml/x")
    with pytest.raises(ConfigError, match=r"folder\.toml cannot be read"):
        config_of("folder.toml")


def test_files_of_windows_are_read(write):
    text = "epochs = 3\r\nlr = 0.5\r\n"
    for encoding in ("utf-8-sig", "utf-16"):
        assert config_of(write(text.encode(encoding))).epochs == 3
    with pytest.raises(ConfigError, match="line 2: there is no option 'x'"):
        config_of(write(b"lr = 1\r\nx = 2\r\n"))


def test_a_wrong_recipe_of_a_plugin_names_the_plugin():
    wrong = zoo.RecipeSpec(name="wrong", values={"epochs": "many"})
    with pytest.raises(PluginError, match=r"The plugin acme:acme failed .* 'acme/wrong': option 'epochs' is 'many'"):
        config_of("wrong", plugin=offering(wrong))
    file = zoo.RecipeSpec(name="wrong", extends="./base.toml")
    with pytest.raises(PluginError, match="it extends the file"):
        config_of("wrong", plugin=offering(file))
    registry = load_registry(extra={"acme": offering(zoo.RecipeSpec(name="wrong", values=["epochs"]))})
    (failure,) = registry.failures
    assert "whose 'values' is ['epochs'], not a dict" in failure.error


def test_a_registry_without_recipes_says_so(monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "finetune-zoo:recipes")
    with pytest.raises(UnknownNameError, match="There is no recipe 'default'") as caught:
        make_config("resnet18", data="hotdog")
    assert "finetune-zoo:recipes is blocked" in caught.value.hint


def test_a_file_of_settings_has_the_data_and_the_backbone(write):
    name = write(
        'data = "./photos"\nbackbone = "resnet18"\nrecipe = "d2l"\nlr = 0.1\n[data_options]\nsize = 3\n',
        "conf/run.toml",
    )
    values = read_settings(name)
    assert values["data"] == "./conf/photos"
    config = make_config(**values)
    assert (config.backbone, config.batch_size, config.lr, config.data_options) == ("resnet18", 128, 0.1, {"size": 3})
    with pytest.raises(ConfigError, match=r"line 1: 'frozen' belongs into a recipe"):
        read_settings(write("[frozen]\nepochs = 1\n"))
    with pytest.raises(ConfigError, match=r"mine\.toml, line 2: option 'epochs' is -1, out of bounds"):
        read_settings(write("lr = 1\nepochs = -1\n"))
    with pytest.raises(ConfigError, match=r"mine\.toml, line 1: there is no option 'epoch'"):
        read_settings(write("epoch = 1\n"))


@pytest.mark.parametrize("name", ["a.toml", "./a", "../a", "~/a", "/a", "A.TOML"])
def test_paths_are_known(name):
    assert is_recipe_file(name)


def test_names_are_no_paths():
    assert not any(map(is_recipe_file, ("default", "acme/fast", "toml")))


def test_a_registry_of_the_caller_offers_the_recipe():
    registry = make_registry(FakePlugin())
    assert make_config("small", data="colours", registry=registry).patience == 1
