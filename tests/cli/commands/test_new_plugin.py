def test_a_project_is_created_and_next_steps_are_printed(run_zoo, tmp_path):
    code, out, err = run_zoo("new-plugin", "zoo-wombat", "--to", "there/wombat")
    assert (code, err) == (0, "")
    assert (tmp_path / "there" / "wombat" / "pyproject.toml").is_file()
    assert "created there/wombat/pyproject.toml" in out
    assert "pip install -e there/wombat" in out


def test_quiet_prints_only_the_folder(run_zoo):
    assert run_zoo("new-plugin", "zoo-wombat", "-q") == (0, "zoo-wombat\n", "")


def test_an_invalid_name_is_refused(run_zoo):
    code, _, err = run_zoo("new-plugin", "Not a name")
    assert code == 1
    assert "'Not a name' is not a valid name for a plugin" in err


def test_nothing_is_overwritten(run_zoo, tmp_path):
    assert run_zoo("new-plugin", "zoo-wombat").code == 0
    assert (tmp_path / "zoo-wombat" / "pyproject.toml").is_file()
    assert run_zoo("new-plugin", "zoo-wombat").code == 1


def test_a_kind_may_be_named_in_the_plural(run_zoo, tmp_path):
    assert run_zoo("new-plugin", "zoo-wombat", "--kind", "export-targets", "-q") == (0, "zoo-wombat\n", "")
    assert (tmp_path / "zoo-wombat" / "zoo_wombat" / "target.py").is_file()


def test_a_wrong_kind_is_wrong_usage(run_zoo):
    code, _, err = run_zoo("new-plugin", "zoo-wombat", "--kind", "lossess")
    assert code == 2
    assert "'loss'" in err
