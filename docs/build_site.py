"""Builds the documentation site in build/docs/site: `make docs`.

Its pages are the Markdown files of the repository. This copies them and changes only what differs between a repository
and a site: links, the tags of code blocks, and the notebook, which becomes a page. Zensical does the rest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs"
BUILD = ROOT / "build" / "docs"
PAGES = BUILD / "pages"
# The pages that are not in docs/.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "benchmarks.md",
}
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"^(```\w+) .*")  # a site knows the language only
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_CODE = re.compile(r"(?<!\[)`(zoo(?:_export)?(?:\.\w+)+)`")
_DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)


def build(*options: str) -> int:
    """Writes the pages and builds the site; returns the exit code of Zensical."""
    shutil.rmtree(BUILD, ignore_errors=True)
    places = find_pages()
    documented = find_documented(places)
    for source, place in [*places.items()]:
        text = convert(read(source), source, places, documented)
        write(PAGES / place, text)
    for source, place in places.items():  # now with the files that pages link to
        if not (PAGES / place).exists():
            write(PAGES / place, show(source))
    for image in SOURCE.glob("*.png"):
        shutil.copy(image, PAGES)
    shutil.copy(SOURCE / "zensical.toml", BUILD)
    return subprocess.call([sys.executable, "-m", "zensical", "build", "--strict", *options], cwd=BUILD)


def find_pages() -> dict[Path, Path]:
    """Returns where each page goes, relative to `PAGES`, by its file in the repository."""
    files = [*SOURCE.rglob("*.md"), *SOURCE.glob("*.ipynb")]
    places = {file: file.relative_to(SOURCE).with_suffix(".md") for file in sorted(files)}
    return places | {ROOT / file: Path(place) for file, place in OUTSIDE.items()}


def find_documented(places: Mapping[Path, Path]) -> set[str]:
    """Returns what the reference documents: ``zoo.finetune``, ``zoo.events``."""
    return {name for source in places if source.suffix == ".md" for name in _DIRECTIVE.findall(read(source))}


def read(source: Path) -> str:
    """Returns a page as Markdown."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(body if kind == "markdown" else f"```python\n{body}\n```" for kind, body in cells)


def convert(text: str, source: Path, places: dict[Path, Path], documented: set[str]) -> str:
    """Returns the text of a page for the site; adds to `places` the files of the repository that it links to."""

    def link(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        if target.suffix == ".png":
            place = target.relative_to(SOURCE)
        else:
            place = places.setdefault(target, Path("source", f"{target.relative_to(ROOT)}.md"))
        return f"]({Path(os.path.relpath(place, places[source].parent)).as_posix()}"

    def refer(match: re.Match[str]) -> str:
        known = match[1] in documented or match[1].rpartition(".")[0] in documented
        return f"[`{match[1]}`][{match[1]}]" if known else match[0]

    parts: list[str] = []
    end = 0
    for block in _BLOCK.finditer(text):
        parts += [_CODE.sub(refer, _LINK.sub(link, text[end : block.start()])), _TAG.sub(r"\1", block[0])]
        end = block.end()
    return "".join([*parts, _CODE.sub(refer, _LINK.sub(link, text[end:]))])


def show(source: Path) -> str:
    """Returns a page that shows a file of the repository, and that the search leaves out."""
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {source.relative_to(ROOT)}\n\n"
    return f"{head}````{source.suffix[1:]}\n{source.read_text(encoding='utf-8')}\n````\n"


def write(path: Path, text: str) -> None:
    """Writes a page, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(build(*sys.argv[1:]))
