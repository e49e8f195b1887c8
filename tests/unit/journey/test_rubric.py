from headrace.journey.rubric import MEANINGS, RUBRIC, SECTIONS, Finding, Score, Scored


def _score(points):
    return Score([Scored(test, Finding(points[test.section], "because"), "") for test in RUBRIC])


def test_the_rubric_has_28_tests_seven_a_section():
    assert len({test.id for test in RUBRIC}) == 28
    assert {s: sum(test.section == s for test in RUBRIC) for s in SECTIONS} == dict.fromkeys(SECTIONS, 7)


def test_the_total_is_the_lowest_section():
    score = _score({"data": 1.0, "model": 0.5, "infrastructure": 1.0, "monitoring": 1.0})
    assert score.sections == {"data": 7, "model": 3.5, "infrastructure": 7, "monitoring": 7}
    assert score.total == 3.5
    assert score.meaning.startswith("strong")


def test_one_empty_section_is_a_research_project():
    assert _score({"data": 0, "model": 1, "infrastructure": 1, "monitoring": 1}).meaning == MEANINGS[0][1]


def test_every_fix_is_a_command_once_filled_in():
    names = {"dataset": "orders", "endpoint": "prices", "pipeline": "train"}
    for test in RUBRIC:
        fix = test.fix.format(id=test.id, **names)
        assert fix.startswith("headrace ")
        assert "{" not in fix
