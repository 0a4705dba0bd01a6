"""Commands with the small run."""

import pytest


@pytest.fixture
def invoke(monkeypatch):
    """A function that runs a command with arguments."""
    from click.testing import CliRunner
    from fakes import FakePlugin

    import zoo_export.commands.export
    from zoo.plugins.registry import load_registry

    registry = load_registry(extra={"fake": FakePlugin()})
    monkeypatch.setattr(zoo_export.commands.export, "load_registry", lambda: registry)

    def invoke(command, *args):
        return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)

    return invoke
