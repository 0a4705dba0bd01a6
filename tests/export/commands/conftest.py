"""Commands with the small run."""

import pytest


@pytest.fixture
def invoke(small_registry, monkeypatch):
    """A function that runs a command with arguments."""
    from click.testing import CliRunner

    import zoo_export.targets.onnx
    import zoo_export.targets.pt2

    for target in (zoo_export.targets.onnx, zoo_export.targets.pt2):
        monkeypatch.setattr(target, "load_registry", lambda: small_registry)

    def invoke(command, *args):
        return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)

    return invoke
