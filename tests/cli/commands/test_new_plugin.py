def test_a_skeleton_is_written_and_what_to_do_next_is_told(run_zoo, tmp_path):
    code, out, err = run_zoo("new-plugin", "zoo-wombat", "--to", "there/wombat")
    assert (code, err) == (0, "")
    assert (tmp_path / "there" / "wombat" / "pyproject.toml").is_file()
    assert "wrote there/wombat/pyproject.toml" in out
    assert "pip install -e there/wombat" in out


def test_a_name_that_cannot_be_is_refused(run_zoo):
    code, _, err = run_zoo("new-plugin", "Not a name")
    assert code == 1
    assert "'Not a name' cannot be the name of a plugin" in err


def test_nothing_is_overwritten(run_zoo, tmp_path):
    assert run_zoo("new-plugin", "zoo-wombat").code == 0
    assert (tmp_path / "zoo-wombat" / "pyproject.toml").is_file()
    assert run_zoo("new-plugin", "zoo-wombat").code == 1
