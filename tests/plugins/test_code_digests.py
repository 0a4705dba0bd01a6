import functools

import fakes

from zoo.plugins.code_digests import code_digests


def test_code_digests_cover_the_zoo_and_the_packages_of_plugins(tmp_path, monkeypatch):
    package = tmp_path / "acme_zoo"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from acme_zoo.deep.net import build\n")
    (package / "deep" / "net.py").write_text("def build(request):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from acme_zoo import build

    digests = code_digests(functools.partial(build, 1), fakes.make_backbone_spec().build)
    assert list(digests) == ["zoo", "acme_zoo", "fakes"]
    assert code_digests(build)["acme_zoo"] == digests["acme_zoo"]
    (package / "deep" / "net.py").write_text("def build(request):\n    return 2\n")
    assert code_digests(build)["acme_zoo"] != digests["acme_zoo"]
    assert list(code_digests(functools.partial(print))) == ["zoo"]  # print has no source file
