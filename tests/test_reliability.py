"""Every row of docs/reliability.md names the test that proves it, and that test exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")


def test_every_row_names_a_test_and_every_test_that_is_named_exists():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| event |")]
    assert len(rows) > 40
    for row in rows:
        assert re.search(r"\| `(tests/[\w/]+\.py)::(test_\w+)` \|$", row), row
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []
