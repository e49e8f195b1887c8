"""Request targets that are more than a path: the absolute form that clients of a proxy send (RFC 9112, 3.2.2)."""

import re

_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([/?].*)?", re.IGNORECASE | re.DOTALL)


def origin_form(target: bytes, headers: dict[bytes, bytes]) -> bytes:
    """Path and query of an absolute target, whose host takes the place of the header ``host``, as the RFC demands.

    Args:
        target: As it was sent; what is no absolute form is given back.
        headers: By lower-case name; ``host`` is replaced.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    headers[b"host"] = found[1]
    path = found[2] or b"/"
    return path if path.startswith(b"/") else b"/" + path
