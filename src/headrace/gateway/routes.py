"""Routes: which paths are answered, and the scope that a caller needs for each method of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from headrace.placement.access import LOOKS_LIKE_ONE, Scope

ANYBODY: Final = "anybody"
Needed = Scope | Literal["anybody"]
Needs = Mapping[bytes, Needed]
"""Method to the scope that it needs; a method that is not there does nothing."""


def reading(needed: Needed) -> Needs:
    """The methods that change nothing need it."""
    return {b"GET": needed, b"HEAD": needed}


READ, HEALTH = reading(Scope.READ), reading(ANYBODY)
SCORE: Needs = {b"POST": Scope.SCORE}
DEPLOY: Needs = {b"POST": Scope.DEPLOY}
NOTHING: Needs = {}

_TOKENS = frozenset({b"token", b"access_token", b"auth_token", b"authorization", b"bearer"})
_MARK = LOOKS_LIKE_ONE.pattern.encode()


class Route(NamedTuple):
    """Paths that are answered alike. A path that no route has is not answered, whatever its protocol could do.

    Attributes:
        path: Matches the whole path.
        needs: The scope of each method.
    """

    path: re.Pattern[str]
    needs: Needs


def route(path: str, needs: Needs) -> Route:
    """A route by the regular expression of its paths."""
    return Route(re.compile(path), needs)


def found(routes: Sequence[Route], path: str) -> Route | None:
    """The first route of a path."""
    return next((one for one in routes if one.path.fullmatch(path)), None)


def tells_a_token(target: bytes) -> bool:
    """Whether a target carries a token: servers on the way, and browsers, keep URLs."""
    plain = unquote_to_bytes(target)
    _, _, query = plain.partition(b"?")
    names = {pair.partition(b"=")[0].lower() for pair in re.split(rb"[&;]", query)}
    return bool(names & _TOKENS) or re.search(_MARK, plain) is not None
