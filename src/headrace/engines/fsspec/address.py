"""``s3://bucket/prefix``: which bucket, and which part of it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from headrace.errors import SettingsError
from headrace.refs import checked_path

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_EXAMPLE = 's3://bucket/prefix, as in store = "s3://models/shop"'


@dataclass(frozen=True)
class Address:
    """A bucket, and this project's part of it.

    Attributes:
        bucket: Its name.
        prefix: What all keys of the project begin with; empty, or ending with a slash.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """Read the setting ``store``.

        Raises:
            SettingsError: No bucket is named, or more than a bucket and a prefix.
            NameRefused: The prefix is no path of names.
        """
        parts = urlsplit(uri)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise SettingsError(
                "the address of a store is a bucket and a prefix", where=f"s3://{parts.netloc.rpartition('@')[2]}",
                why="addresses are printed, and options are not read from them",
                fix="set AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )  # fmt: skip
        if not _BUCKET.fullmatch(parts.netloc):
            raise SettingsError("the address of a store names no bucket", where=uri, fix=_EXAMPLE)
        path = parts.path.strip("/")
        return cls(parts.netloc, f"{checked_path(path, of='prefix of a store')}/" if path else "")

    def __str__(self) -> str:
        """As it is written in settings."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")
