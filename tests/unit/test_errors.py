"""What errors of libraries are cut to."""

import pytest

from headrace.errors import first_line


@pytest.mark.parametrize(
    ("said", "due"),
    [("", "ValueError"), (" \n ", "ValueError"), ("\n one \n two", "one"), ("x" * 400, "x" * 300), ("one", "one")],
)
def test_the_first_line_of_an_error(said, due):
    assert first_line(ValueError(said)) == due
