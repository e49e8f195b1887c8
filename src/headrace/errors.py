"""Every error that headrace raises on purpose, as one tree.

    HeadraceError
    ├── UsageError            exit 2   the caller can fix the call
    │   ├── SettingsError              a setting is unknown or malformed
    │   ├── NameRefused                a name or path breaks the naming rule
    │   ├── HandleError                a planned value was used as if it were computed
    │   ├── MissingExtra               an engine's package is not installed
    │   ├── SignatureError             a model was registered or called with the wrong columns
    │   └── UnknownSignature           a model was asked by a signature that it does not have
    ├── RunFailed             exit 1   a step raised, or a run could not go on
    │   └── IntegrityError             stored bytes do not have the digest they were stored under
    ├── Refused               exit 3   a check said no; nothing was changed
    │   ├── GateFailed                 a gate's assertion does not hold
    │   ├── DataRefused                data breaks its contract
    │   ├── ParityFailed               the served artifact does not answer as the trained model does
    │   └── RegistrationRefused        a model lacks what registration asks for
    ├── Unavailable           exit 4   a service did not answer, or did not accept us
    │   ├── Unauthorized               the token is missing or wrong
    │   │   └── Forbidden              the token is good, but not for this; or nobody may come from there
    │   └── Overloaded                 more is asked than can wait; try again in a while (retryable)
    ├── NotFound              exit 5   no such dataset, run, model, endpoint, prediction
    └── Conflict              exit 1   somebody else changed it first; try again (retryable)

An error reads ``what - where - why - fix: command`` and has a stable ``code`` (docs/reference/errors.md).
"""

from typing import ClassVar


class HeadraceError(Exception):
    """Root of the tree: what failed, where, why, and the next command to run.

    Args:
        what: What could not be done, in one clause.
        where: The file, step, column or address it happened at.
        why: The cause: what was given against what is allowed.
        fix: What to type or change next.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        """The four parts on one line, the absent ones left out."""
        parts = [part for part in (self.what, self.where, self.why) if part]
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return " - ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with all four parts."""
        return (_rebuild, (type(self), self.what, self.where, self.why, self.fix))


def first_line(error: BaseException) -> str:
    """What a library says first, 300 characters at most; the type of an error that says nothing."""
    return str(error).strip().partition("\n")[0].rstrip()[:300] or type(error).__name__


def _rebuild(kind: type[HeadraceError], what: str, where: str, why: str, fix: str) -> HeadraceError:
    error = kind.__new__(kind)
    HeadraceError.__init__(error, what, where=where, why=why, fix=fix)
    return error


class UsageError(HeadraceError):
    """The caller can fix the call."""

    code = "usage"
    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, malformed or impossible here."""

    code = "settings"


class NameRefused(UsageError):
    """A name or path breaks the naming rule of ``refs``."""

    code = "name-refused"


class HandleError(UsageError):
    """A planned value was used as if it were already computed."""

    code = "handle-misused"


class MissingExtra(UsageError):
    """An engine was asked for whose package is not installed."""

    code = "missing-extra"


class SignatureError(UsageError):
    """A model was given columns or tensors that its signature does not allow."""

    code = "signature"


class UnknownSignature(UsageError):
    """A model was asked by a signature that it does not have."""

    code = "unknown-signature"


class RunFailed(HeadraceError):
    """A step raised, or a run could not go on."""

    code = "run-failed"


class IntegrityError(RunFailed):
    """Stored bytes do not have the digest they were stored under."""

    code = "integrity"


class Refused(HeadraceError):
    """A check said no; nothing was changed."""

    code = "refused"
    exit_code = 3


class GateFailed(Refused):
    """A gate's assertion does not hold; the message carries the values."""

    code = "gate-failed"


class DataRefused(Refused):
    """Data breaks its contract."""

    code = "data-refused"


class ParityFailed(Refused):
    """The artifact to be served does not answer as the trained model does."""

    code = "parity-failed"


class RegistrationRefused(Refused):
    """A model lacks what registration asks for."""

    code = "registration-refused"


class Unavailable(HeadraceError):
    """A service did not answer."""

    code = "unavailable"
    exit_code = 4
    retryable = True


class Unauthorized(Unavailable):
    """The token is missing or wrong."""

    code = "unauthorized"
    retryable = False


class Forbidden(Unauthorized):
    """The token is good, but not for this; or the request comes from where none is answered."""

    code = "forbidden"


class Overloaded(Unavailable):
    """More is asked of a server than it lets wait; the same call may do in a while.

    Attributes:
        retry_after_s: After how many seconds it is worth trying again; 1 where nothing better is known.
    """

    code = "overloaded"
    retry_after_s: int = 1


class NotFound(HeadraceError):
    """No such dataset, run, model, endpoint or prediction."""

    code = "not-found"
    exit_code = 5


class Conflict(HeadraceError):
    """Somebody else wrote it first; read again and retry."""

    code = "conflict"
    retryable = True
