from headrace.cli.explanation import lines

TOLD = {
    "id": "01a22084-12a3-7000-8337-b4fcce3aea7d",
    "endpoint": "late",
    "event_time": None,
    "signature": "",
    "params": {"unit": "\x1b[2J"},
    "input": {"city": ["\x1b]0;owned\x07\nanswer     late 0.9"]},
    "joined": [],
    "masked": [],
    "answer": {"late": [0.25]},
    "winner": "late@2",
    "elapsed_ms": 1.0,
    "reason": "late@3 failed (no \x1b[31mcity\n)",
    "deployment": {},
    "scores": [{"model": "late@3", "state": "failed", "error": "no\ncity", "outputs": {}, "hops_ms": {}, "worker": ""}],
    "model": None,
}


def test_what_a_caller_sent_steers_no_terminal_and_makes_no_line():
    told = list(lines(TOLD))
    assert all(line.isprintable() for line in told)
    assert [line for line in told if line.startswith("answer")] == ["answer     late 0.25 from late@2 after 1.0 ms"]
    assert r"input      city=\x1b]0;owned\x07\nanswer     late 0.9" in told
    assert any(r"no\ncity" in line for line in told)
