import pytest

from headrace.engines.kafka.forgetting import cut


@pytest.mark.parametrize(
    ("most_bytes", "first"),
    [(100_000, 0), (1_500, 0), (1_499, 1), (900, 20), (890, 21), (600, 40), (75, 75), (50, 77), (5, 80)],
)
def test_where_to_cut_so_that_so_much_is_left(most_bytes, first):
    """Twenty messages of 30 bytes, then sixty of 15."""
    assert cut([0, 20, 60, 80], [30, 15, 15], most_bytes) == first
