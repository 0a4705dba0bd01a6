import zoo.utils.fetch.online
from zoo.plugins.checks import check_server


def test_a_server_that_does_not_answer_is_a_warning(monkeypatch):
    monkeypatch.setattr(zoo.utils.fetch.online, "_why_unreachable", lambda url, patience: "no such host")
    found = check_server("https://example.org/x", about="example")
    assert (found.status, found.text) == ("warning", "example.org does not answer: no such host")
    assert "HTTPS_PROXY" in found.advice
    monkeypatch.setattr(zoo.utils.fetch.online, "_why_unreachable", lambda url, patience: "")
    assert check_server("https://example.org/x", about="example").text == "example.org answers"
