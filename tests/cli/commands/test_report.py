from pathlib import Path

import zoo.inference.report
import zoo.training.suspects.find


def test_the_page_is_written_where_the_user_says(run_zoo, make_run, monkeypatch):
    make_run()
    calls = []

    def write_report(run, output, **values):
        calls.append((run.name, output, values["data"], values["split"], values["suspects"]))
        return output or Path(f"{run.name}-report.html")

    monkeypatch.setattr(zoo.inference.report, "write_report", write_report)
    assert run_zoo("report", "tiny-linear-dogs-1").out == "tiny-linear-dogs-1-report.html\n"
    assert run_zoo("report", "tiny-linear-dogs-1", "-o", "page.html", "--split", "val").out == "page.html\n"
    assert calls == [
        ("tiny-linear-dogs-1", None, None, "test", None),
        ("tiny-linear-dogs-1", Path("page.html"), None, "val", None),
    ]


def test_suspects_are_those_of_the_data_of_the_run(run_zoo, make_run, monkeypatch):
    make_run()
    looked = []

    class Found:
        suspects = ("one",)

    def find_suspects(data, **values):
        looked.append((data, values["groups"], values["seed"]))
        return Found

    def write_report(run, output, **values):
        assert values["suspects"] == ("one",)
        return Path("page.html")

    monkeypatch.setattr(zoo.inference.report, "write_report", write_report)
    monkeypatch.setattr(zoo.training.suspects.find, "find_suspects", find_suspects)
    assert run_zoo("report", "tiny-linear-dogs-1", "--suspects").code == 0
    assert looked == [("dogs", "none", 0)]  # records of earlier versions have no groups
