"""The dataset doctor's report as one HTML file: the photos in question side by side, inside the file itself.

It asks nothing of any server, runs no script, and forbids both to whatever a file's name might smuggle in.
"""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

from zoo.data.check.report import LEVELS
from zoo.data.images.decode import open_image
from zoo.errors import DataError, ImageError
from zoo.utils.files import atomic_write
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from zoo.data.check.report import Finding, Pair, Photo, Report

_SIDE = 224  # pixels of the longer side of a photo
_MOST = {"problem": 100, "warning": 60, "note": 12}  # pairs or photos shown of a finding
_MOST_CLASSES = 200
_MARK = "<!doctype html><!-- zoo data check -->"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_check_page(target: Path, report: Report) -> Path:
    """Writes a page that shows what was found; an earlier page is replaced, any other file never.

    Args:
        target: The file.
        report: From `zoo.data.check.examine`.

    Returns:
        `target`. Of many photos the first are shown, 100 pairs at most of a finding, and the page says so.

    Raises:
        DataError: There is a file of that name which is no such page.
        RunError: It cannot be written.
    """
    check_page_target(target)
    thumbnail = lru_cache(maxsize=1024)(_thumbnail)
    body = "\n".join(_body(report, lambda photo: thumbnail(photo.source)))
    with atomic_write(target) as aside:
        aside.write_text(_page(report, body), encoding="utf-8")
    return target


def check_page_target(target: Path) -> None:
    """Checks that a page may be written to a file; raises as `write_check_page`."""
    if target.exists() and not _is_page(target):
        raise DataError(f"{target} is there already, and no page of this kind.", hint="Give the page another name.")


def _page(report: Report, body: str) -> str:
    return f"""{_MARK}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(printable(report.name))}: what was found</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _body(report: Report, thumbnail: Callable[[Photo], str]) -> Iterator[str]:
    told = " ".join(
        f'<span class="level {level}">{report.count(level)} {level}{"" if report.count(level) == 1 else "s"}</span>'
        for level in LEVELS
    )
    yield f"<header><h1>{_text(report.name)}</h1><p>{len(report.photos):,} photos {told}</p>"
    if report.note:
        yield f'<p class="quiet">{_text(report.note)}</p>'
    yield f"{_counts(report)}</header><main>"
    if not report.findings:
        yield '<section><p class="fine">Nothing is wrong with it.</p></section>'
    for finding in report.findings:
        yield _section(finding, thumbnail)
    yield "</main>"


def _counts(report: Report) -> str:
    classes = list(next(iter(report.counts.values()), {}))[:_MOST_CLASSES]
    head = "".join(f"<th>{_text(part)}</th>" for part in report.counts)
    rows = "".join(
        f"<tr><td>{_text(name)}</td>"
        + "".join(f'<td class="number">{counted[name]:,}</td>' for counted in report.counts.values())
        + "</tr>"
        for name in classes
    )
    return f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _section(finding: Finding, thumbnail: Callable[[Photo], str]) -> str:
    most = _MOST[finding.level]
    cards = [_pair(pair, thumbnail) for pair in finding.pairs[:most]]
    cards += [_figure(photo, thumbnail, why) for photo, why in finding.photos[:most]]
    more = len(finding.pairs) + len(finding.photos) - len(cards)
    kind = "pairs" if finding.pairs else "photos"
    return "\n".join(
        [
            f'<section><h2><span class="level {finding.level}">{finding.level}</span> {_text(finding.about)}</h2>',
            f"<p>{_text(finding.text)}</p>",
            f'<p class="quiet">{_text(finding.advice)}</p>' if finding.advice else "",
            f'<div class="{kind}">{"".join(cards)}</div>' if cards else "",
            f'<p class="quiet">and {more:,} more, which --json lists.</p>' if more else "",
            "</section>",
        ]
    )


def _pair(pair: Pair, thumbnail: Callable[[Photo], str]) -> str:
    how = "equal to the byte" if pair.exact else f"{pair.distance} of 128 bits differ"
    apart = pair.kept.label != pair.other.label
    figures = "".join(_figure(photo, thumbnail, apart=apart) for photo in (pair.kept, pair.other))
    return f'<div class="pair">{figures}<p class="quiet">{how}</p></div>'


def _figure(photo: Photo, thumbnail: Callable[[Photo], str], why: str = "", *, apart: bool = False) -> str:
    data = "" if photo.error else thumbnail(photo)
    picture = (
        f'<img src="data:image/jpeg;base64,{data}" alt="">' if data else '<span class="none">cannot be read</span>'
    )
    label = f'<b class="{"apart" if apart else ""}">{_text(photo.label)}</b>'
    reason = f'<span class="why">{_text(why)}</span>' if why else ""
    return (
        f'<figure><div class="picture">{picture}</div><figcaption>{label} <i>{_text(photo.part)}</i>'
        f"{reason}<small>{_text(photo.name)}</small></figcaption></figure>"
    )


def _thumbnail(source: Path | bytes) -> str:
    """Returns a photo as a small JPEG in base 64, or nothing where it cannot be read."""
    try:
        photo = open_image(source, enough=_SIDE, rough=True)
    except ImageError:
        return ""
    photo.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _text(text: str) -> str:
    """Returns text that is text alone, also to the eye: control characters are written out, directions kept apart."""
    return f"<bdi>{escape(printable(text))}</bdi>"


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MARK)) == _MARK.encode()
    except OSError:
        return False


STYLE = """
:root {
  --paper: #f6f7f9; --card: #fff; --ink: #16181d; --muted: #5b6472; --line: #dfe3e8; --well: #eef0f3;
  --problem: #b3261e; --warning: #8a5300; --note: #2457a6; --fine: #1d6f42;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --card: #1b1e23; --ink: #e8eaed; --muted: #9aa3af; --line: #2d323a; --well: #24282e;
    --problem: #ff8a80; --warning: #f5c26b; --note: #90b8f8; --fine: #81d8a4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
header, main { max-width: 1240px; margin: 0 auto; }
h1 { margin: 0; font-size: 28px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 18px; display: flex; gap: 10px; align-items: center; flex-wrap: wrap; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.quiet { color: var(--muted); }
.fine { color: var(--fine); font-weight: 600; }
.level {
  display: inline-block; padding: 1px 10px; border: 1px solid currentColor; border-radius: 999px;
  font-size: 13px; font-weight: 600; white-space: nowrap;
}
.problem { color: var(--problem); } .warning { color: var(--warning); } .note { color: var(--note); }
table { margin: 16px 0 8px; border-collapse: collapse; max-width: 100%; }
th, td { padding: 4px 20px 4px 0; border-bottom: 1px solid var(--line); text-align: left; overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 500; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
section {
  margin: 20px 0; padding: 20px; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
.pairs, .photos { display: grid; gap: 16px; margin-top: 16px; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); }
.photos { grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); }
.pair {
  display: grid; grid-template-columns: 1fr 1fr; gap: 2px 12px; padding: 12px;
  background: var(--well); border-radius: 10px;
}
.pair > p { grid-column: 1 / -1; font-size: 13px; }
figure { margin: 0; min-width: 0; }
.picture { aspect-ratio: 1; display: flex; align-items: center; justify-content: center; }
.photos .picture { background: var(--well); border-radius: 8px; overflow: hidden; }
img { max-width: 100%; max-height: 100%; border-radius: 6px; }
.none { color: var(--muted); font-size: 13px; }
figcaption { margin-top: 6px; font-size: 14px; overflow-wrap: anywhere; }
figcaption i { color: var(--muted); font-style: normal; }
figcaption small, .why { display: block; font-size: 12px; color: var(--muted); }
.apart { color: var(--problem); }
"""
