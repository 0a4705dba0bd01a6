import json


def test_runs_oldest_first_with_their_accuracy(run_zoo, make_run):
    make_run("b-1", created="2026-01-01T00:00:00+00:00")
    make_run("a-1", created="2026-01-02T00:00:00+00:00", status="interrupted", results={})
    code, out, err = run_zoo("runs")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "run  backbone  head    data  accuracy            time",
        "b-1  tiny      linear  dogs  93.1 % ± 1.8  3 min 12 s",
        "a-1  tiny      linear  dogs  interrupted            -",
    ]


def test_an_accuracy_on_the_validation_part_says_so(run_zoo, make_run):
    make_run(results={"val": {"accuracy": 0.9, "interval": [0.8, 1.0], "count": 50}, "seconds": 5.0})
    assert "90.0 % ± 10.0 (validation)" in run_zoo("runs").out


def test_a_word_selects(run_zoo, make_run):
    make_run("one-1")
    make_run("two-1")
    assert [row["name"] for row in json.loads(run_zoo("runs", "TWO", "--json").out)] == ["two-1"]


def test_json_holds_plain_values(run_zoo, make_run):
    make_run()
    (row,) = json.loads(run_zoo("runs", "--json").out)
    assert row["accuracy"] == 0.931
    assert row["interval"] == [0.911, 0.947]
    assert row["part"] == "test"
    assert row["seconds"] == 192.0


def test_without_runs_it_says_how_to_make_one(run_zoo, tmp_path):
    code, out, _ = run_zoo("runs")
    assert code == 0
    assert out == "There are no runs below runs/.\n'zoo finetune resnet18 --data hotdog' makes one.\n"
    assert "with 'x' in their name" in run_zoo("runs", "x", "--runs", tmp_path / "elsewhere").out
