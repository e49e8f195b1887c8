"""Names that try to lead out of their folder, made from every way to write a step up and a place to go."""

from itertools import product
from urllib.parse import unquote

STEPS = (
    *("../", "..\\", "..%2f", "..%5c", "%2e%2e/", "%2e%2e%2f", "%2e%2e%5c", ".%2e/", "%252e%252e%252f", "..%252f"),
    *("%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af", "..%c0%af", "..%e0%80%af", "%e0%80%ae%e0%80%ae/", "%uff0e%uff0e/"),
    *("\uff0e\uff0e/", "\uff0e\uff0e\uff0f", "\u2025/", "\u2024\u2024/", "..\u2215", "..\u29f8", "....//", "..;/"),
    *("..%00/", "../%00", "./../", "..//", ".../", "~/", "wine/../", "wine%2f..%2f", "..%0d%0a/", "..%20/", " ../"),
)
PLACES = (*("etc/passwd", "proc/self/environ", ".headrace/control.token", "headrace.toml", "link/headrace.toml"),)
WHOLE = (
    *("/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "\\\\host\\share\\x", "//host/share/x", "C:\\x", "c:/x"),
    *(
        "file:///etc/passwd",
        "\\\\?\\C:\\x",
        ".",
        "..",
        "...",
        "%2e",
        "%2e%2e",
        "%00",
        "wine%00",
        "%00wine",
        "wine%00.x",
    ),
    *("wine/.", "wine/..", "wine%2f", ".hidden", "~", "~root", "-rf", "con", "nul", "wine ", "*", "?", "[a]", "$HOME"),
    *("`id`", "$(id)", "%", "%2", "%zz", "%ff", "%f0%9f%8d%87", "\u202ewine", "a" * 300, "a/" * 300, "%2e" * 400),
)


def tricks():
    """More than 500, as they would stand in a URL."""
    made = [step * depth + place for step, place, depth in product(STEPS, PLACES, (1, 3, 9))]
    return list(dict.fromkeys([*made, *WHOLE]))


def plain_tricks():
    """The same as they would stand in a message or a file: as written, and decoded once and twice."""
    written = tricks()
    once = [unquote(trick) for trick in written]
    return list(dict.fromkeys([*written, *once, *map(unquote, once)]))
