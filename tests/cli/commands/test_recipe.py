import tomllib


def test_the_settings_of_a_run_are_printed(run_zoo, make_run):
    make_run("tiny-linear-dogs-1")
    code, out, err = run_zoo("recipe", "tiny-linear-dogs-1")
    assert (code, err) == (0, "")
    assert out.startswith("# The settings of the run tiny-linear-dogs-1")
    assert tomllib.loads(out)["backbone"] == "tiny"


def test_an_unknown_run_is_an_error(run_zoo, make_run):
    make_run("tiny-linear-dogs-1")
    code, out, err = run_zoo("recipe", "tiny-linear-dogs-2")
    assert (code, out) == (1, "")
    assert "Did you mean tiny-linear-dogs-1?" in err
