import os

import pytest

from zoo.errors import RunError
from zoo.utils.files import (
    atomic_write,
    check_json,
    parse_json,
    read_regular_file,
    remove_temporary_files,
    require_regular_file,
)


def test_atomic_write_creates_a_complete_readable_file(tmp_path):
    target = tmp_path / "a b é 'x'.txt"
    with atomic_write(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_atomic_write_leaves_the_file_unchanged_after_an_error(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(type(error)):
        _fail_while_writing(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _fail_while_writing(target, error):
    with atomic_write(target) as temporary:
        temporary.write_text("ne")
        raise error


@pytest.mark.skipif(os.name != "posix", reason="Windows has no named pipes in folders")
def test_atomic_write_replaces_neither_a_pipe_nor_a_device_nor_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(RunError, match=rf"Cannot write .*{name}: it is not a regular file"):
            _fail_while_writing(tmp_path / name, AssertionError("not reached"))
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_remove_temporary_files_removes_what_a_killed_process_left(tmp_path):
    for name in ("run.json", ".run.json.abc.json", ".other.json.abc.json"):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path, ["run.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.json.abc.json", "run.json"]


def test_read_regular_file_reads_files_up_to_a_size(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"1\r\n2")
    assert read_regular_file(file, max_bytes=4) == b"1\r\n2"
    assert read_regular_file(file, max_bytes=None) == b"1\r\n2"
    with pytest.raises(OSError, match="Larger than 0 MiB"):
        read_regular_file(file, max_bytes=3)
    require_regular_file(file)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are a POSIX feature")
def test_pipes_and_folders_are_no_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for check in (read_regular_file, require_regular_file):
        with pytest.raises(OSError, match="Not a regular file"):
            check(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"Is a directory|Not a regular file"):
            check(tmp_path)


def test_json_of_too_many_values_is_refused_before_it_is_parsed(monkeypatch):
    assert parse_json(b'{"a": [1, "2,3"]}') == parse_json('{"a": [1, "2,3"]}') == {"a": [1, "2,3"]}
    assert parse_json(b"[1,2,3]", most=3) == [1, 2, 3]
    monkeypatch.setattr("json.loads", lambda *args, **kwargs: pytest.fail("It was parsed."))
    for text in ("[1,2,3,4]", "[[[[", '{"a":{"b":{"c":{}}}}', "\n\n\n\n"):
        with pytest.raises(ValueError, match="it has more than 3 values"):
            parse_json(text.encode(), most=3)
        with pytest.raises(ValueError, match="it has more than 3 values"):
            check_json(text.encode(), most=3)


def test_json_that_is_no_utf8_is_refused():
    with pytest.raises(UnicodeDecodeError):
        parse_json(b'"\xff"')
    with pytest.raises(ValueError, match="no"):
        parse_json("[NaN]", parse_constant=lambda name: (_ for _ in ()).throw(ValueError("no")))
