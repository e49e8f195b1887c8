"""What Parquet files unpack to is known from their headers; what is no Parquet file ends in ValueError."""

import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.parquet_pages import FOOTER_BYTES, chunks, pages
from headrace.gateway.thrift import struct

ROWS = 50_000
TABLE = pa.table(
    {
        "number": pa.array(range(ROWS), pa.float64()),
        "text": pa.array([f"text {i % 7}" for i in range(ROWS)]),
        "flag": pa.array([i % 3 == 0 for i in range(ROWS)]),
    }
)


def written(**options):
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=20_000, **options)
    return sink.getvalue()


GOOD = written(compression="zstd")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_the_pages_of_a_file_make_up_what_its_writer_counted(version, compression):
    body = written(compression=compression, data_page_version=version, write_page_index=True)
    rows, found = chunks(body)
    meta = pq.ParquetFile(io.BytesIO(body)).metadata
    told = [meta.row_group(i).column(j) for i in range(meta.num_row_groups) for j in range(meta.num_columns)]
    assert rows == ROWS
    assert [(c.values, c.end - c.begin) for c in found] == [(c.num_values, c.total_compressed_size) for c in told]
    for chunk, column in zip(found, told, strict=True):
        read = list(pages(body, chunk))
        unpacked = sum(page.unpacked_bytes for page in read)
        # The writer counts the headers as well: some fifty bytes a page.
        assert unpacked < column.total_uncompressed_size < unpacked + 100 * len(read)
        assert sum(page.values for page in read[column.has_dictionary_page :]) == chunk.values


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", GOOD[:-1], GOOD[: len(GOOD) // 2], bytes(FOOTER_BYTES * 2) + GOOD[-8:-4]]
)
def test_what_ends_in_no_footer_is_no_file(body):
    with pytest.raises(ValueError, match="footer"):
        chunks(body)


@given(st.data())
def test_a_damaged_file_is_read_to_an_end_or_refused(data):
    spoilt = bytearray(GOOD)
    footer = len(GOOD) - 8 - int.from_bytes(GOOD[-8:-4], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(footer, len(GOOD) - 9), st.integers(4, 80)))
        spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ValueError):  # nothing else is raised
        for chunk in chunks(bytes(spoilt))[1]:
            assert all(page.unpacked_bytes >= 0 for page in pages(bytes(spoilt), chunk))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x15\x02\x05\x02\x04\x00", "twice"),  # the field 1, and again by its number
        (b"\x15" + b"\xff" * 11, "no end"),
        (b"\x15", "beyond the end"),
        (b"\x18\xff\x7f", "beyond the end"),
        (b"\x19\xfc\xff\xff\x7f", "beyond the end"),
        (b"\x1c" * 99, "too deep"),
        (b"\x19\x19" * 99, "too deep"),
        (b"\x1b\x00", "no field"),
    ],
)
def test_what_is_no_struct_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        struct(content, 0)


def test_a_struct_is_read():
    # 1: -3, 2: true, 4: a list of 1 and 2, 5: a text, 6: a struct of 1: 64, 7: a list of two truths, 8: a double
    content = b"\x15\x05\x11\x29\x25\x02\x04\x18\x02ab\x1c\x15\x80\x01\x00\x19\x21\x01\x02\x17" + bytes(8) + b"\x00"
    due = {1: -3, 2: None, 4: [1, 2], 5: None, 6: {1: 64}, 7: [None, None], 8: None}
    assert struct(content + b"more", 0) == (due, len(content))
