"""Files of labels: what is wrong with one is said with what it should be."""

import pytest

from headrace.errors import UsageError
from headrace.monitoring.labels import read_file


def test_a_file_without_labels_is_told_the_columns(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("id,returned\n01a,1\n")
    with pytest.raises(UsageError) as refused:
        list(read_file(file))
    assert "'label'" in refused.value.what
    assert "id and label" in refused.value.fix
