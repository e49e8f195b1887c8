"""Whether who asks may: a bearer token against the scope that a route needs."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from headrace.errors import Forbidden, SettingsError, Unauthorized, Unavailable
from headrace.gateway.answers import encode, error_body, token_told, wrong_method
from headrace.gateway.faults import said, status_of
from headrace.gateway.http import JSON, Request, Response, Send
from headrace.gateway.routes import ANYBODY, Needed, Needs, tells_a_token
from headrace.placement.access import Scope, Token, Tokens, digest
from headrace.serving.report import report

_REALM: Final = 'Bearer realm="headrace"'


class Denial(NamedTuple):
    """That a caller may not.

    Attributes:
        error: Why: ``Unauthorized`` for who is not known, ``Forbidden`` for who may not do this.
        challenge: The value of ``WWW-Authenticate`` that says the same to programs (RFC 6750, 3).
    """

    error: Unauthorized
    challenge: str

    @property
    def header(self) -> bytes:
        """The challenge as a line of HTTP."""
        return f"www-authenticate: {self.challenge}\r\n".encode()


class Access:
    """Asks for tokens, as they are at that moment: one that is made, revoked or expired counts so with the next call.

    Args:
        tokens: Those of the project.

    Attributes:
        tokens: The same.

    Raises:
        SettingsError: They cannot be read.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self._trouble = tokens, ""
        self._ended: set[str] = set()
        tokens.current()

    def denial(self, header: bytes, needed: Needed | None) -> Denial | None:
        """Why a caller may not; None for one who may.

        Args:
            header: The value of ``Authorization``; empty where there is none.
            needed: The scope; ``ANYBODY`` needs no token. None for what is nowhere, which any token may find out.

        Raises:
            Unavailable: The tokens cannot be read now.
        """
        if needed is ANYBODY:
            return None
        scheme, _, secret = header.partition(b" ")
        if not header:
            return _unknown("a token is due", "the header Authorization is missing", _REALM)
        token = self._known(secret.strip(b" ")) if scheme.lower() == b"bearer" else None
        invalid = f'{_REALM}, error="invalid_token"'
        if token is None:
            return _unknown("the token is not accepted", "it is none of ours, or was revoked", invalid)
        if self._over(token):
            when = datetime.fromtimestamp(token.expires_s or 0.0, UTC).isoformat(timespec="seconds")
            return _unknown(f"token {token.name!r} expired", f"at {when}", invalid)
        if needed is not None and not token.allows(Scope(needed)):
            return _insufficient(token, Scope(needed))
        return None

    def _over(self, token: Token) -> bool:
        """Whether its time is over, or once was: a clock that is set back brings no token back."""
        if token.expired:
            self._ended.add(token.sha256)
        return token.sha256 in self._ended

    def _known(self, secret: bytes) -> Token | None:
        """The token; all are compared, each in the same time wherever it differs."""
        sent = digest(secret)
        found = [token for token in self._current() if hmac.compare_digest(token.sha256, sent)]
        return found[0] if found else None

    def _current(self) -> tuple[Token, ...]:
        try:
            found = self.tokens.current()
        except (SettingsError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                report(f"no token is accepted: {error}")
            raise Unavailable("tokens cannot be checked now", fix="the server's own log says why") from None
        self._trouble = ""
        return found


class Guarded(Protocol):
    """What a guard stands before."""

    def __call__(self, request: Request, send: Send) -> None:
        """Answer one request; see ``http.Handler``."""

    def admitted(self, request: Request, send: Send) -> Send | None:
        """How to send the reply; None when it is sent. See ``screen.Screen.admitted``."""

    def needs(self, target: bytes) -> Needs:
        """The scopes of the methods at a target; nothing for one that is nowhere."""


class Guard:
    """Handles every request of a port where callers need tokens; see ``http.Handler``.

    Args:
        inner: Answers who may.
        access: Who may.
    """

    def __init__(self, inner: Guarded, access: Access) -> None:
        self._inner, self._access = inner, access

    def __call__(self, request: Request, send: Send) -> None:
        """Answer one request. A method that no scope is declared for is passed on to nobody."""
        admitted = self._inner.admitted(request, send)
        if admitted is None:
            return
        if tells_a_token(request.target):
            admitted(token_told())
            return
        self._asked(request, admitted)

    def denial(self, method: bytes, target: bytes, headers: Mapping[bytes, bytes]) -> Denial | None:
        """Why a request with a large body will be refused, as far as its method, target and token tell.

        What is for anybody takes no body, so that nobody without a token may send one there.

        Raises:
            Unavailable: The tokens cannot be read now.
        """
        needed = self._inner.needs(target.partition(b"?")[0]).get(method)
        return self._access.denial(headers.get(b"authorization", b""), None if needed is ANYBODY else needed)

    def _asked(self, request: Request, send: Send) -> None:
        needs = self._inner.needs(request.target)
        needed = needs.get(request.method)
        if needed is ANYBODY and request.headers.pop(b"content-encoding", None) is not None:
            request.body = b""  # to unpack it is work, and it is not looked at
        try:
            denial = self._access.denial(request.headers.get(b"authorization", b""), needed)
        except Unavailable as error:
            send(error_body(error))
            return
        if denial is not None:
            send(_denied(denial))
        elif needs and (wrong := wrong_method(request, *needs)) is not None:
            send(wrong)
        else:
            self._inner(request, send)


def _denied(denial: Denial) -> Response:
    return Response(status_of(denial.error), encode({"error": said(denial.error)}), JSON, denial.header)


def _unknown(what: str, why: str, challenge: str) -> Denial:
    return Denial(Unauthorized(what, why=why, fix="Authorization: Bearer <token>; headrace tokens make"), challenge)


def _insufficient(token: Token, needed: Scope) -> Denial:
    may = ", ".join(sorted(token.scopes))
    error = Forbidden(
        f"token {token.name!r} lacks the scope {needed}",
        why=f"it has {may}",
        fix=f"headrace tokens make NAME --scope {needed}",
    )
    return Denial(error, f'{_REALM}, error="insufficient_scope", scope="{needed}"')
