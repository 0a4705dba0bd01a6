"""Files in the cache of the Hugging Face Hub."""

from pathlib import Path


def put_into_hub_cache(offline: Path, repository: str, file: str, content: bytes, *, branch: str = "main") -> None:
    """Writes a file of a repository as the Hub's own library does, below the folder of the fixture `offline`."""
    folder = offline / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / branch).write_text("0123abc")
    (snapshot / file).write_bytes(content)
