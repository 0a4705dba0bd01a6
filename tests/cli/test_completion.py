"""Completion in shells: what is offered, how fast, and in real shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_files import CREATED, write_json_record

import zoo
from zoo.runs.open import open_run
from zoo.runs.tags import tag_run

ZOO = Path(sys.executable).with_name("zoo")
ROOT = Path(zoo.__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    """A folder with a run named drawings and the tag best@1, and a run with a name that a shell would run."""
    for name in ("drawings", "$(touch hacked)"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        write_json_record(run, {"status": "finished", "created": CREATED})
        (run / "model.safetensors").write_bytes(b"weights")
    tag_run(open_run("drawings", runs=tmp_path / "runs"), "best", runs=tmp_path / "runs")
    return tmp_path


@pytest.fixture
def complete(folder):
    """Returns a function that completes the last of the words of a command line."""

    def ask(*words, **environment):
        variables = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        done = subprocess.run(
            [sys.executable, "-m", "zoo"],
            env={**os.environ, "ZOO_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), **variables, **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return [tuple(line.split(",", 1)) for line in done.stdout.splitlines() if line]

    return ask


def plain(found):
    assert all(kind == "plain" for kind, _ in found)
    return [value for _, value in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["zoo", "fine"], ["finetune"]),
        (["zoo", "runs", "de"], ["delete"]),
        (["zoo", "finetune", "resnet3"], ["resnet34"]),
        (["zoo", "finetune", "torchvision/resnet3"], ["torchvision/resnet34"]),
        (["zoo", "finetune", "resnet18", "--head", "lin"], ["linear"]),
        (["zoo", "finetune", "resnet18", "--data", "hotdog-"], ["hotdog-cartoon"]),
        (["zoo", "finetune", "resnet18", "--weights", "d"], ["drawings"]),
        (["zoo", "finetune", "resnet18", "--refit", ""], ["yes", "no"]),
        (["zoo", "finetune", "resnet18", "--label-sm"], ["--label-smoothing"]),
        (["zoo", "predict", "d"], ["drawings"]),
        (["zoo", "evaluate", "b"], ["best@1"]),
        (["zoo", "export", "d"], ["drawings"]),
        (["zoo", "demo", "drawings", "b"], ["best@1"]),
        (["zoo", "runs", "delete", ""], ["drawings", "best@1"]),
        (["zoo", "runs", "untag", ""], ["best@1"]),
        (["zoo", "info", "hotdog-"], ["hotdog-cartoon"]),
        (["zoo", "info", "drawings"], ["drawings"]),
        (["zoo", "list", "loss"], ["losses"]),
        (["zoo", "data", "check", "hotdog-"], ["hotdog-cartoon"]),
        (["zoo", "completion", "f"], ["fish"]),
    ],
    ids=" ".join,
)
def test_names_and_values_are_offered(complete, words, expected):
    assert plain(complete(*words)) == expected


def test_another_folder_of_runs(complete, folder):
    (folder / "runs").rename(folder / "others")
    assert plain(complete("zoo", "predict", "--runs", "others", "d")) == ["drawings"]


def test_where_no_name_fits_the_shell_offers_files(complete):
    assert complete("zoo", "predict", "photos/") == [("file", "photos/")]
    assert complete("zoo", "finetune", "--data", "./") == [("file", "./")]
    assert complete("zoo", "finetune", "nosuch") == []


def test_members_of_a_family_are_offered_once_their_names_are_known(complete, folder):
    assert complete("zoo", "finetune", "mobilevit") == []
    subprocess.run(
        [sys.executable, "-c", "from zoo_timm.family import list_names; list_names()"],
        env={**os.environ, "ZOO_HOME": str(folder / "home")},
        check=True,
    )
    assert "mobilevit_s" in plain(complete("zoo", "finetune", "mobilevit"))
    assert "timm/resnet50d" in plain(complete("zoo", "finetune", "timm/resnet50d"))


def test_what_plugins_print_is_not_shown_and_their_failures_do_not_matter(complete, tmp_path):
    (tmp_path / "acme_loud.py").write_text("print('loud'); raise ImportError('broken')\n")
    info = tmp_path / "acme_loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo]\nloud = acme_loud\n")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    assert plain(complete("zoo", "finetune", "resnet3", PYTHONPATH=path)) == ["resnet34"]
    assert plain(complete("zoo", "fine", PYTHONPATH=path)) == ["finetune"]


def test_an_unknown_instruction_is_refused(folder):
    variables = {**os.environ, "_ZOO_COMPLETE": "csh_complete"}
    done = subprocess.run([sys.executable, "-m", "zoo"], env=variables, check=False)
    assert done.returncode == 1


PROGRAM = """
import sys, zoo.cli.main
try:
    zoo.cli.main.main()
finally:
    sys.stdout.flush()
    print(*sorted(sys.modules), file=sys.stderr)
"""


def test_no_library_of_a_plugin_is_imported(folder):
    variables = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": "zoo finetune res", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    assert "resnet18" in done.stdout
    heavy = {"torch", "timm", "torchvision", "gradio", "onnxruntime", "numpy", "PIL", "rich"}
    assert not heavy & set(done.stderr.split())


@pytest.mark.skipif(os.name != "posix", reason="measures processor time")
def test_an_answer_takes_little_time(complete):
    import resource

    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        complete("zoo", "finetune", "res")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5  # 0.2 s on the machine where this was written


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None or not ZOO.exists(), reason=f"needs {shell} and zoo")


def run_shell(folder, *command):
    path = os.pathsep.join([str(ZOO.parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "HOME": str(folder), "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@needs("bash")
def test_bash(folder):
    ask = (
        'eval "$(zoo completion bash)"; COMP_LINE="zoo predict $1"; COMP_POINT=${#COMP_LINE}; '
        'COMP_WORDS=(zoo predict "$1"); COMP_CWORD=2; _zoo_completion zoo; printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def offer(word):
        return run_shell(folder, "bash", "--norc", "-c", ask, "bash", word).splitlines()

    assert offer("dra") == ["drawings"]
    assert offer("") == ["drawings", "best@1"]
    assert offer("best@") == ["@1"]  # the part of the word that bash replaces
    assert not (folder / "hacked").exists()


# In a process of its own: to open a terminal, pexpect forks, and that of the tests may be too large for that.
TYPIST = """
import pexpect
shell = pexpect.spawn("bash", ["--norc", "-i"], encoding="utf-8", timeout=60)
try:
    shell.sendline('bind "set enable-bracketed-paste off"; eval "$(zoo completion bash)"; echo rea"dy"')
    shell.expect("ready")
    shell.send("zoo runs untag best@\\t\\n")  # the whole tag gets onto the line
    shell.expect("best@1 was drawings")
    shell.send("zoo list hotdog-c\\t --kind=dat\\t --quiet --json\\n")
    shell.expect("datasets/hotdog-cartoon")
finally:
    shell.close(force=True)
"""


@needs("bash")
def test_bash_at_a_prompt(folder):
    """Presses the Tab key on a terminal."""
    pytest.importorskip("pexpect")
    path = os.pathsep.join([str(ZOO.parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "TERM": "dumb", "PS1": ""}
    done = subprocess.run(
        [sys.executable, "-c", TYPIST], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@needs("fish")
def test_fish(folder):
    ask = 'zoo completion fish | source; complete -C "zoo predict dra"; complete -C "zoo info hotdog-"'
    names = [line.split("\t")[0] for line in run_shell(folder, "fish", "--no-config", "-c", ask).splitlines()]
    assert names == ["drawings", "hotdog-cartoon"]


@needs("zsh")
def test_zsh(folder):
    script = """
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; eval "$(zoo completion zsh)"; echo "rea""dy"'
        zpty -r shell output '*ready*'
        zpty -n -w shell $'zoo info hotdog-ca\\t'
        zpty -r shell output '*hotdog-cartoon*'
        print "found: ${output[-20,-1]}"
        zpty -d shell
    """
    assert "hotdog-cartoon" in run_shell(folder, "zsh", "-f", "-c", script).partition("found:")[2]


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/completions/zoo.fish")]
)
def test_the_script_is_installed_once(run, tmp_path, monkeypatch, shell, file):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / file
    if shell != "fish":
        path.write_text("# mine")
    code, out, err = run("completion", shell, "--install")
    assert (code, err) == (0, "")
    assert out == f"{path} has the completion of zoo; it works in new shells.\n"
    content = path.read_text()
    assert "zoo" in content
    assert (shell == "fish") or content == f'# mine\neval "$(zoo completion {shell})"\n'
    assert "already had" in run("completion", shell, "--install")[1]
    assert path.read_text() == content


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(run, shell):
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert f"_ZOO_COMPLETE={shell}_complete" in out
