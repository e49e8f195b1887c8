"""The project that a command runs in."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.journey.platform import Platform


def platform(**flags: Any) -> "Platform":
    """The platform of the current folder's project; ``flags`` win over every other setting.

    Imported when a command runs, so that ``--help`` stays quick.
    """
    from headrace.assembly import open_platform
    from headrace.settings import load_settings

    return open_platform(load_settings(flags=flags))
