import huggingface_hub
import pytest
from hub_cache import put_into_hub_cache
from huggingface_hub import constants

from zoo_timm.cache import FILES, cached_repositories, is_cached


@pytest.mark.parametrize(
    ("hub_id", "cached"),
    [
        ("timm/net.a1_in1k", True),
        ("timm/net.a1_in1k@main", True),
        ("timm/net.a1_in1k@0123abc", True),
        ("timm/net.a1_in1k@other", False),
        ("timm/net.a2_in1k", False),
        ("timm/pickled.a1_in1k", True),
        ("timm/half.a1_in1k", False),
        ("", False),
    ],
)
def test_weights_are_found_as_by_the_library_of_the_hub(offline, hub_id, cached):
    put_into_hub_cache(offline, "timm/net.a1_in1k", "model.safetensors", b"")
    put_into_hub_cache(offline, "timm/pickled.a1_in1k", "pytorch_model.bin", b"")
    put_into_hub_cache(offline, "timm/half.a1_in1k", "config.json", b"")
    assert is_cached(hub_id) is cached
    if hub_id:
        repository, _, revision = hub_id.partition("@")
        cache = constants.HF_HUB_CACHE
        found = [
            huggingface_hub.try_to_load_from_cache(repository, file, cache_dir=cache, revision=revision or None)
            for file in FILES
        ]
        assert any(isinstance(path, str) for path in found) is cached


def test_repositories_are_listed(offline):
    assert cached_repositories() == set()
    put_into_hub_cache(offline, "timm/net.a1_in1k", "model.safetensors", b"")
    put_into_hub_cache(offline, "acme-labs/my-net", "model.safetensors", b"")
    (offline / "hf" / "hub" / "datasets--acme--cats").mkdir()
    assert cached_repositories() == {"timm/net.a1_in1k", "acme-labs/my-net"}
