"""What is trusted in a model: read strictly, and asked for where loading runs code."""

from pathlib import Path

import pytest
from served import onnx_linear

from headrace.errors import IntegrityError, Refused
from headrace.models.trust import check_trust, words_of

FOLDER = Path("given/model")


def test_words_are_those_of_the_file(tmp_path):
    assert words_of(tmp_path) == frozenset()
    (tmp_path / "trusted.json").write_text('["pickle", "a.b.C"]')
    assert words_of(tmp_path) == {"pickle", "a.b.C"}


@pytest.mark.parametrize("content", ["", "(", '"pickle"', '{"pickle": true}', "[1]", "null"])
def test_a_file_that_is_no_list_of_words_trusts_nothing(tmp_path, content):
    (tmp_path / "trusted.json").write_text(content)
    with pytest.raises(IntegrityError, match="what is trusted cannot be read"):
        words_of(tmp_path)


def test_only_what_runs_code_needs_the_word():
    check_trust("onnx", (), FOLDER, {})
    check_trust("mlflow", ("pickle",), FOLDER, {})
    for words in ((), ("pickles",), ("a.b.C",)):
        with pytest.raises(Refused, match=r"--trust pickle$"):
            check_trust(
                "mlflow", words, FOLDER, {"model.mlflow/MLmodel": b"flavors:", "model.mlflow/model.pkl": b"\x80"}
            )


def test_a_file_that_runs_nothing_is_named():
    files = {"model.mlflow/MLmodel": b"flavors:", "model.mlflow/data/model.onnx": onnx_linear([1, 2])}
    with pytest.raises(Refused, match=r"or import given/model/data/model\.onnx itself"):
        check_trust("mlflow", (), FOLDER, files)
