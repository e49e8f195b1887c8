"""Packing: what goes in comes out, and equal values have equal digests."""

import datetime as dt
import enum
import json
import math
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RunFailed, UsageError
from headrace.pipelines.handover import Loader, alternatives, hints_of, plain
from headrace.pipelines.references import Reference, tree_digest
from headrace.pipelines.values import Packer, codec_of_type

Point = namedtuple("Point", ["x", "y"])  # noqa: PYI024 - the untyped kind must work too


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Inner:
    when: dt.datetime
    share: float


@dataclass
class Outer:
    name: str
    inner: Inner
    parts: tuple[int, ...] = ()
    seen: set[str] = field(default_factory=set)
    extra: dict[Any, Any] = field(default_factory=dict)
    cached: list[int] = field(init=False, default_factory=list)


def round_trip(value: Any, annotation: Any = Any) -> Any:
    tree = json.loads(json.dumps(Packer().pack(value), allow_nan=False))
    return Loader(lambda: None, lambda name: None).load(Reference(tree, tree_digest(tree)), annotation)


def _unfolded(moments: Any) -> Any:
    """ISO 8601 has no word for the second of two equal wall-clock times, and UTC has none such."""
    return moments.map(lambda moment: moment.replace(fold=0))


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20)
_values = st.recursive(
    _scalars
    | st.dates()
    | _unfolded(st.datetimes(timezones=st.just(dt.UTC) | st.none()))
    | st.timedeltas()
    | _unfolded(st.times()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=12,
)


def _same(left: Any, right: Any) -> bool:
    """Equal, NaN being equal to itself, and of the same types."""
    return repr(left) == repr(right) or left == right


@given(_values)
def test_values_come_back(value):
    assert _same(round_trip(value), value)


@given(_values)
def test_digests_are_stable(value):
    assert tree_digest(Packer().pack(value)) == tree_digest(Packer().pack(round_trip(value)))


@given(_values, _values)
def test_digests_tell_values_apart(one, other):
    if not _same(one, other):
        assert tree_digest(Packer().pack(one)) != tree_digest(Packer().pack(other))


@pytest.mark.parametrize(
    "value",
    [
        Outer("a", Inner(dt.datetime(2024, 2, 29, tzinfo=dt.UTC), math.inf), (1, 2), {"x"}, {1: "one", (2, 3): None}),
        [Inner(dt.datetime(2024, 2, 29), 0.5)],  # noqa: DTZ001 - naive ones must survive too
        Point(1, [Point(2, 3)]),
        Colour.RED,
        Level.LOW,
        {"$item": "0", "plain": "$ref"},
        [Path("a/b.csv"), b"\x00\xff", {"nested": {"deep": (1,)}}],
        dt.timedelta(-1, 5, 7),
        Outer,
    ],
    ids=repr,
)
def test_more_values_come_back(value):
    loaded = round_trip(value)
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_bool_is_no_int_and_one_is_no_one_point_nought():
    assert len({tree_digest(Packer().pack(v)) for v in (True, 1, 1.0, "1")}) == 4


def test_numpy_scalars_become_pythons():
    assert Packer().pack([np.int64(3), np.float64(0.5), np.float32(0.5), np.bool_(True), np.str_("a")]) == [
        3, 0.5, 0.5, True, "a",
    ]  # fmt: skip


def test_whole_numbers_become_floats_where_floats_are_due():
    assert isinstance(round_trip(3, float), float)
    assert isinstance(round_trip([3], list[float])[0], float)
    assert isinstance(round_trip(3, float | None), float)
    assert isinstance(round_trip(3, int | float), int)


def test_small_bytes_are_inline_and_large_ones_a_file(tmp_path):
    packer = Packer(lambda name: None, lambda: tmp_path)
    tree = packer.pack({"small": b"x" * 100, "large": b"y" * 5000})
    assert "$bytes" in tree["small"]
    assert (tmp_path / tree["large"]["$blob"]).read_bytes() == b"y" * 5000


def test_paths_are_copied(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "report.txt").write_text("hello")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "x").write_text("x")
    packer = Packer(lambda name: None, lambda: tmp_path / "store")
    file, folder = packer.pack([tmp_path / "report.txt", tmp_path / "folder"])
    assert (tmp_path / "store" / file["$blob"]).read_text() == "hello"
    assert (tmp_path / "store" / folder["$blob"] / "deep" / "x").read_text() == "x"
    (tmp_path / "folder" / "deep" / "x").write_text("y")
    assert packer.pack(tmp_path / "folder")["sha256"] != folder["sha256"]
    with pytest.raises(RunFailed, match="no file"):
        packer.pack(tmp_path / "missing")


def test_what_no_codec_knows_is_refused():
    with pytest.raises(UsageError, match=r"argument of a step - value\['a'\]\[1\]"):
        Packer().pack({"a": [1, object()]})


def test_the_nearest_ancestor_with_a_codec_is_asked():
    class Codec:
        name = form = "made"

        def fits(self, annotation):
            return True

    asked = []

    def codecs(name):
        asked.append(name)
        return Codec() if name == "collections" else None

    import collections

    assert codec_of_type(type("Own", (collections.OrderedDict,), {}), codecs).name == "made"
    assert asked == [__name__.partition(".")[0], "collections"]


def test_annotations():
    from typing import Annotated, Optional, Union

    assert plain(Optional[int]) is int  # noqa: UP045 - the old form too
    assert plain(Annotated[int | None, "why"]) is int
    assert alternatives(Union[int, str, None]) == (int, str)  # noqa: UP007 - the old form too
    assert plain(None | list[int]) == list[int]
    assert plain(int) is int


def test_hints_survive_names_that_cannot_be_resolved():
    def function(a: "int", b: "Nowhere", c: str):  # noqa: F821 - on purpose
        pass

    assert "c" in hints_of(function)
    assert "b" not in hints_of(function)
