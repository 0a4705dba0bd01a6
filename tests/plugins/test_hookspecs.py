import inspect

from plugin_helpers import plugin_of

from zoo.plugins import hookspecs
from zoo.plugins.kinds import KINDS


def test_every_kind_has_a_hook_without_arguments():
    for kind in KINDS:
        assert not inspect.signature(getattr(hookspecs, kind.hook)).parameters


def test_a_manager_has_the_hooks_of_one_plugin_only():
    one = hookspecs.register(plugin_of(zoo_heads=lambda: ["one"]))
    two = hookspecs.register(plugin_of(zoo_heads=lambda: ["two"]), name="second")
    assert (one.hook.zoo_heads(), two.hook.zoo_heads()) == ([["one"]], [["two"]])
    assert one.hook.zoo_datasets() == []
    assert two.get_plugin("second") is not None
