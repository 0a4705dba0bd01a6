import pytest
from plugin_helpers import plugin_of

import zoo
from zoo.testing import check_plugin, check_recipe


def recipe(**fields):
    return zoo.RecipeSpec(**{"name": "fast", "summary": "Fast.", **fields})


def test_valid_recipes_pass():
    base = recipe(name="base", values={"lr": 0.1, "head": "mlp", "head_options": {"hidden": 8}})
    check_recipe(base)
    check_plugin(plugin_of(zoo_recipes=lambda: [base, recipe(extends="base", frozen={"epochs": 1})]))
    check_recipe(recipe(values={"weights": "none"}, frozen={"epochs": 1}))
    check_recipe(recipe(extends="default", values={"freeze": "all"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": {"learnin_rate": 1}}, "there is no option 'learnin_rate'"),
        ({"values": {"epochs": "many"}}, "option 'epochs' is 'many', not a whole number"),
        ({"values": {"label_smoothing": 2}}, "option 'label_smoothing' is 2, out of bounds"),
        ({"values": {"cache": "memry"}}, "option 'cache' is 'memry'"),
        ({"values": {"data": "hotdog"}}, "a recipe cannot set 'data'"),
        ({"from_scratch": {"weights": "none"}}, r"\[from_scratch\] cannot set 'weights'"),
        ({"frozen": {"freeze": "all"}}, r"\[frozen\] cannot set 'freeze'"),
        ({"extends": "defualt"}, "There is no recipe 'defualt'"),
        ({"extends": "fast"}, "in a circle"),
        ({"extends": "./base.toml"}, "it extends the file"),
        ({"from_scratch": {"epochs": 0}}, "option 'epochs' is 0, out of bounds"),
        ({"frozen": {"lr": "fast"}}, "option 'lr' is 'fast', not a finite number"),
        ({"values": {"head_options": 3}}, "'head_options' is 3, not a dict"),
        ({}, "it must set a value"),
        ({"values": {"lr": 1}, "summary": ""}, "it must have a summary"),
        ({"values": {"lr": 1}, "options": int}, "it cannot have options"),
    ],
)
def test_mistakes_are_named(fields, message):
    with pytest.raises(AssertionError, match=f"recipe fast: .*{message}"):
        check_recipe(recipe(**fields))
