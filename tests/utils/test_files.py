"""Files are written whole or not at all."""

import pytest

from zoo.utils.files import atomic_write


def test_a_file_is_written_whole_and_readable(tmp_path):
    target = tmp_path / "a b é 'x'.txt"
    with atomic_write(target) as aside:
        assert aside.parent == tmp_path
        assert aside.suffix == ".txt"
        aside.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_a_file_stays_as_it_was_when_writing_is_broken_off(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(type(error)):
        _break_off(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _break_off(target, error):
    with atomic_write(target) as aside:
        aside.write_text("ne")
        raise error
