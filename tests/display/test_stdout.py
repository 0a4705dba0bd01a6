import errno
import io
import json
import os
import subprocess
import sys

import pytest

from zoo.display import console
from zoo.display.stdout import CheckedStream, OutputError, QuietStream, checked_stderr, checked_stdout

ZOO = [sys.executable, "-m", "zoo"]


class Failing(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error


@pytest.mark.parametrize("use", [lambda stream: stream.write("x"), lambda stream: stream.flush()])
def test_a_failing_stream_is_an_output_error_and_a_broken_pipe_stays_one(use):
    with pytest.raises(OutputError, match=r"^Cannot write the output: No space left on device\.\n"):
        use(CheckedStream(Failing(OSError(errno.ENOSPC, "No space left on device"))))
    with pytest.raises(BrokenPipeError):
        use(CheckedStream(Failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))))


def test_a_quiet_stream_goes_on_and_keeps_the_first_error():
    first = OSError(errno.EIO, "Input/output error")
    failing = Failing(first)
    stream = QuietStream(CheckedStream(failing))
    assert stream.error is None
    assert stream.write("x") == 1
    failing.error = BrokenPipeError()
    stream.flush()
    assert isinstance(stream.error, OutputError)
    assert stream.error.__cause__ is first


def test_the_rest_of_the_stream_is_as_before():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    assert CheckedStream(stream).encoding == "cp1252"
    assert CheckedStream(stream).isatty() is False


def test_characters_that_stdout_cannot_encode_are_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp874")
    monkeypatch.setattr(sys, "stdout", stream)
    with checked_stdout():
        print("93.1 % ± 1.8, 热狗")
        sys.stdout.flush()
    assert sys.stdout is stream
    assert stream.buffer.getvalue().strip() == rb"93.1 % \xb1 1.8, \u70ed\u72d7"


def test_json_is_ascii_where_stdout_is_not_unicode(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    with checked_stdout():
        console.write_json({"name": "热狗 ±"})
    assert stream.buffer.getvalue().isascii()
    assert json.loads(stream.buffer.getvalue()) == {"name": "热狗 ±"}


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_stderr_escapes_them_too_and_is_restored(monkeypatch, errors):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors)
    monkeypatch.setattr(sys, "stderr", stream)
    with checked_stderr():
        console.write_error("热狗 is no photo.", hint="\udcff")
    assert sys.stderr is stream
    assert stream.buffer.getvalue().splitlines() == [rb"error: \u70ed\u72d7 is no photo.", rb"\udcff"]


def test_a_message_that_cannot_be_written_is_dropped(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Failing(OSError(errno.ENOSPC, "No space left on device")))
    with checked_stderr():
        console.write_warning("This is lost.")
        assert sys.stderr.error.errno == errno.ENOSPC


@pytest.fixture
def run_zoo(tmp_path):
    """Returns a function that runs a command in a process of its own, in an empty folder."""

    def run(*args, **how):
        how = {"stdout": subprocess.PIPE, **how}
        environment = {**os.environ, "ZOO_HOME": str(tmp_path), **how.pop("env", {})}
        return subprocess.run([*ZOO, *args], stderr=subprocess.PIPE, cwd=tmp_path, env=environment, check=False, **how)

    return run


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_an_error_of_two_lines(run_zoo, unbuffered):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run_zoo("list", "--kind", "heads", stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: Cannot write the output: No space left on device.",
        "Redirect it to another file or device.",
    ]


@pytest.mark.skipif(os.name != "posix", reason="a descriptor is closed by a shell")
def test_a_closed_stdout_is_an_error_of_two_lines(tmp_path):
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *ZOO, "list", "--kind", "heads"],
        capture_output=True,
        text=True,
        env={**os.environ, "ZOO_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: Cannot write the output: Bad file descriptor.",
        "Redirect it to another file or device.",
    ]


STDERR = """
import os, sys
from zoo.display.stdout import checked_stderr, checked_stdout
with checked_stderr(), checked_stdout():
    opened = os.open(os.devnull, os.O_RDONLY)
    sys.stderr.write("lost")
    sys.stderr.flush()
    os.write(2, b"also lost")
    os.fstat(0), os.fstat(1)
sys.exit(opened)
"""


@pytest.mark.skipif(os.name != "posix", reason="a descriptor is closed by a shell")
def test_no_file_is_opened_in_place_of_a_closed_stream():
    code = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", code, "sh", sys.executable, "-c", STDERR], check=False)
    assert done.returncode == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
def test_results_are_printed_where_stderr_is_full(tmp_path):
    command = [*ZOO, "list", "--kind", "heads"]
    environment = {**os.environ, "ZOO_HOME": str(tmp_path), "ZOO_BLOCK_PLUGINS": "nosuch"}  # which warns
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, env=environment, check=False)
    assert done.returncode == 0
    assert b"linear" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="pipes break with a signal of their own elsewhere")
def test_a_reader_that_leaves_is_not_an_error():
    command = [*ZOO, "info", "d2l"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


LOUD = """
import os
import click
import zoo
print("module prints")

def build(request):
    os.write(1, b"library prints\\n")
    print("build prints")
    from torch import nn
    return zoo.StagedBackbone({"stem": nn.Conv2d(3, 4, 3)}, width=4)

@zoo.hookimpl
def zoo_backbones():
    print("hook prints")
    card = zoo.BackboneCard(preprocess=zoo.Preprocess(size=(16, 16), resize=16))
    return [zoo.BackboneSpec(name="loud", summary="Prints.", card=lambda: card, build=build)]

@zoo.hookimpl
def zoo_commands(cli):
    cli.add_command(click.Command("shout", callback=lambda: print("a result")))
"""


@pytest.fixture
def run_loud(tmp_path):
    """Runs the command line beside a plugin that prints whenever it is called; returns stdout and stderr."""
    metadata = tmp_path / "site" / "zoo_loud-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text("[zoo]\nloud = zoo_loud\n")
    (metadata.parent / "zoo_loud.py").write_text(LOUD)

    def run(*args):
        environment = os.environ | {"PYTHONPATH": str(metadata.parent)}
        done = subprocess.run([*ZOO, *args], env=environment, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    return run


def test_what_plugins_print_goes_to_stderr(run_loud):
    out, err = run_loud("list", "--json", "loud")
    assert [entry["name"] for entry in json.loads(out)["backbones"]] == ["zoo-loud/loud"]
    assert "module prints" in err
    assert "hook prints" in err


def test_so_does_what_libraries_print_when_a_network_is_built(run_loud):
    out, err = run_loud("info", "zoo-loud/loud", "--json")
    assert json.loads(out)[0]["name"] == "zoo-loud/loud"
    assert "build prints" in err
    assert "library prints" in err


def test_a_help_page_is_as_clean(run_loud):
    out, err = run_loud("--help")
    assert out.startswith("Usage:")
    assert "prints" not in out
    assert "module prints" in err


def test_the_command_of_a_plugin_has_stdout_to_itself(run_loud):
    out, _ = run_loud("shout")
    assert out == "a result\n"
