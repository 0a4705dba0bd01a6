"""Any content in the JSON files of a run is read, or refused with a `ZooError`."""

import contextlib
import json

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_files import VALID_FILES

from zoo.cli.commands.runs import command
from zoo.cli.listing import summarize_run
from zoo.errors import ZooError
from zoo.runs.manifest import MANIFEST, check_folder
from zoo.runs.open import open_run
from zoo.runs.record import PHOTOS, RECORD
from zoo.runs.run import METRICS, list_runs
from zoo.runs.tag_history import TAGS
from zoo.runs.tags import list_tags, open_tagged, tags_by_run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value, path=()):
    """Yields the path of every value inside a JSON value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from paths(inner, (*path, key))


@st.composite
def damaged(draw, file):
    """Draws a file with one value replaced or dropped, and sometimes with a changed byte or without its end."""
    value = json.loads(json.dumps(VALID_FILES[file]))
    *parents, last = draw(st.sampled_from([path for path in paths(value) if path]))
    parent = value
    for key in parents:
        parent = parent[key]
    if draw(st.booleans()) or draw(st.booleans()):
        parent[last] = draw(JSON)
    else:
        del parent[last]
    content = json.dumps(value, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    position = draw(st.integers(0, 5 * len(content)))
    if position < len(content):
        return content[:position] + draw(st.binary(max_size=1)) + content[position + 1 :]
    return content[: len(content) * 6 - position] if position > 4 * len(content) else content


def read_record(runs):
    run = open_run(runs / "r-1")
    for name in ("config", "backbone", "head", "fingerprint", "leaks", "classes", "preprocess", "results"):
        with contextlib.suppress(ZooError):
            getattr(run, name)
    assert summarize_run(run).to_dict()["name"] == "r-1"


def read_listing(runs):
    list_runs(runs)
    for args in ([], ["--json"]):
        result = CliRunner().invoke(command, [*args, "--runs", str(runs)])
        assert result.exit_code == 0, result.exception


READERS = {
    RECORD: (read_record, read_listing),
    PHOTOS: (lambda runs: open_run(runs / "r-1").photos(),),
    METRICS: (lambda runs: open_run(runs / "r-1").metrics(),),
    MANIFEST: (lambda runs: check_folder(runs / "r-1"),),
    TAGS: (
        lambda runs: (list_tags(runs), tags_by_run(runs)),
        lambda runs: open_tagged("hotdog@1", runs=runs, check=False),
        read_listing,
    ),
}


def test_valid_files_are_read_in_full(tmp_path):
    for file, values in VALID_FILES.items():
        _write(tmp_path, file, json.dumps(values).encode())
    run = open_tagged("hotdog@1", runs=tmp_path, check=False)
    assert (run.name, run.backbone, run.classes) == ("r-1", "acme/tiny", ("cat", "dog"))
    assert run.photos().by_name("train") == {"a.png": "01234567", "b.png": "89abcdef"}
    assert run.metrics() == [VALID_FILES[METRICS]]
    assert ("run.json", "changed") in [(each.file, each.state) for each in check_folder(run.path)]
    assert [tag.name for tag in list_tags(tmp_path)] == ["hotdog@1"]


@pytest.mark.parametrize("file", READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path, file, data):
    _write(tmp_path, file, data.draw(damaged(file)))
    for read in READERS[file]:
        with contextlib.suppress(ZooError):
            read(tmp_path)


def _write(runs, file, content):
    (runs / "r-1").mkdir(exist_ok=True)
    (runs / "r-1" / RECORD).write_text(json.dumps(VALID_FILES[RECORD]))
    (runs / file if file == TAGS else runs / "r-1" / file).write_bytes(content)
