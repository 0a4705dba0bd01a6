from zoo.display.observers import LineDisplay
from zoo.display.study import format_trial, next_steps, study_facts, study_results, trial_header
from zoo.events import StudyResult, StudyStarted, TrialResult

STARTED = StudyStarted(
    study="resnet18-photos",
    storage="sqlite:///tune.db",
    objective="log-loss",
    higher_is_better=False,
    search={"lr": "1e-05..0.01:log", "probe": "yes,no"},
    trials=40,
    done=3,
)
TRIAL = TrialResult(
    trial=7,
    done=6,
    trials=40,
    state="finished",
    value=0.41234,
    best=True,
    best_value=0.41234,
    values={"lr": 0.00123456, "probe": True},
    epochs=4,
    seconds=42.0,
    seconds_left=120.0,
)
RESULT = StudyResult(
    study="resnet18-photos",
    objective="log-loss",
    counts={"finished": 31, "pruned": 8, "running": 1},
    best=7,
    value=0.41234,
    first_value=0.5,
    values={"lr": 0.00123456, "probe": True},
    importances={"lr": 0.714, "probe": 0.286},
    recipe="best.toml",
    report="report.json",
    train="zoo finetune --data ./photos --recipe best.toml",
    missing=1,
)


def test_what_a_study_searches():
    assert study_facts(STARTED) == [
        ("goal", "log-loss of the validation photos, lower is better"),
        ("search", "lr=1e-05..0.01:log"),
        ("", "probe=yes,no"),
        ("trials", "40 in all, 3 of them done"),
        ("storage", "sqlite:///tune.db"),
    ]


def test_a_line_per_trial_stands_below_its_header():
    header, line = trial_header("log-loss"), format_trial(TRIAL)
    assert line == "    7     6/40     0.4123     0.4123       4          42 s     2 min 0 s  lr=0.00123 probe=yes *"
    for word, value in (("log-loss", "0.4123"), ("epochs", "4 "), ("left", "2 min 0 s")):
        assert header.index(word) + len(word) == line.index(value) + len(value.strip())
    assert "balanced" not in trial_header("balanced-accuracy")


def test_what_did_not_finish_says_why():
    failed = TrialResult(
        trial=1,
        done=0,
        trials=None,
        state="failed",
        value=None,
        best=False,
        best_value=None,
        values={"lr": 0.1},
        epochs=0,
        seconds=1.0,
        reason="No memory",
    )
    assert format_trial(failed).split() == ["1", "0", "failed", "-", "0", "1.0", "s", "-", "lr=0.1", "(No", "memory)"]


def test_the_result_and_how_to_go_on():
    assert study_results(RESULT) == [
        ("trials", "31 finished, 8 pruned, 1 running"),
        ("best", "trial 7: log-loss 0.4123; 0.5 without a search"),
        ("values", "lr=0.00123"),
        ("", "probe=yes"),
        ("importance", "lr 71 %, probe 29 %"),
        ("recipe", "best.toml"),
        ("report", "report.json"),
    ]
    assert next_steps(RESULT) == [
        "Other processes still run 1 trial, and write the report once more.",
        "1 trial is left. The same command continues the study.",
        "The test photos were left alone. This trains with the best values and evaluates them:",
        "  zoo finetune --data ./photos --recipe best.toml",
    ]


def test_a_result_without_a_finished_trial():
    empty = StudyResult(
        study="a", objective="log-loss", counts={}, best=None, value=None, first_value=None, values={}, importances={}
    )
    assert study_results(empty) == [("trials", "no trials"), ("best", "no trial is finished yet")]


def test_the_display_prints_them_in_order(capsys):
    display = LineDisplay()
    for event in (STARTED, TRIAL, RESULT):
        display(event)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet18-photos"
    assert lines[1] == "  goal     log-loss of the validation photos, lower is better"
    assert format_trial(TRIAL) in lines
    assert "values        lr=0.00123" in lines
    assert "              probe=yes" in lines
    assert lines[-1] == "  zoo finetune --data ./photos --recipe best.toml"
