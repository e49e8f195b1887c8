from headrace.cli.comparison import agree, lines


def test_classes_stand_beside_each_other_and_the_top_one_is_named():
    answers = {"digits@2": [[0.1, 0.9]], "digits@1": [[0.2, 0.8]]}
    assert list(lines(answers)) == [
        "CLASS  DIGITS@2  DIGITS@1",
        "0           0.1       0.2",
        "1           0.9       0.8",
        "all versions agree: 1",
    ]
    assert agree(answers)


def test_versions_that_differ_say_what_each_says():
    answers = {"digits@2": [[0.1, 0.9]], "digits@1": [[0.7, 0.3]]}
    assert list(lines(answers))[-1] == "versions differ: digits@2 says 1, digits@1 says 0"
    assert not agree(answers)


def test_numbers_agree_when_they_are_near():
    assert agree({"wine@2": [6.1020165], "wine@1": [[6.1020170]]})
    assert not agree({"wine@2": [6.1], "wine@1": [6.3]})
    assert list(lines({"wine@2": [6.1, 5.0], "wine@1": [6.3, 5.0]})) == [
        "OUTPUT  WINE@2  WINE@1",
        "value      6.1     6.3",
        "versions differ: wine@2 says 6.1, wine@1 says 6.3",
        "",
        "OUTPUT  WINE@2  WINE@1",
        "value        5       5",
        "all versions agree: 5",
    ]


def test_outputs_by_name_are_classes_too():
    answers = {"iris@2": [{"setosa": 0.9, "other": 0.1}], "iris@1": [{"setosa": 0.4, "other": 0.6}]}
    assert list(lines(answers))[-1] == "versions differ: iris@2 says setosa, iris@1 says other"


def test_outputs_that_are_no_confidences_are_compared_each_by_itself():
    prices = {"shop@2": [{"price": 10.0, "items": 3}], "shop@1": [{"price": 20.0, "items": 3}]}
    assert list(lines(prices)) == [
        "OUTPUT  SHOP@2  SHOP@1",
        "price       10      20",
        "items        3       3",
        "versions differ in price",
    ]
    assert not agree(prices)
    assert not agree({"shop@2": [[10.0, 3.0]], "shop@1": [[20.0, 3.0]]})
    same = {"shop@2": [[10.0, 3.0]], "shop@1": [[10.001, 3.0]]}
    assert agree(same)
    assert list(lines(same))[-1] == "all versions agree"


def test_lists_in_lists_are_compared_to_the_last_value():
    one, other = [[[1.0, 2.0], [3.0, 4.0]]], [[[1.0, 2.0], [3.0, 5.0]]]
    assert agree({"double@2": one, "double@1": one})
    assert not agree({"double@2": one, "double@1": other})
    assert list(lines({"double@2": one, "double@1": other}))[-1] == "versions differ in 1"
