"""S3 and whatever speaks its protocol, through s3fs; endpoint, region and credentials as every AWS tool finds them."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fsspec.asyn import sync
from s3fs import S3FileSystem

from headrace.engines.fsspec.address import Address
from headrace.engines.fsspec.faults import Absent, no_bucket, translated
from headrace.engines.fsspec.remote import Changed, Stat
from headrace.errors import HeadraceError, RunFailed
from headrace.settings import shown

T = TypeVar("T")
PART_BYTES = 8 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000
_AT_ONCE = 4
_SHA256 = "sha256"


@dataclass(frozen=True)
class Patience:
    """How long each thing may take, in seconds; botocore's three attempts are in it.

    Attributes:
        connect_s: A connection.
        silent_s: An answer's next bytes.
        call_s: A call that carries no content.
        hurry_s: The same, where there is something to go on with.
        part_s: A part of an object, both ways.
    """

    connect_s: float = 5.0
    silent_s: float = 20.0
    call_s: float = 30.0
    hurry_s: float = 5.0
    part_s: float = 90.0


class S3:
    """A bucket; see ``Remote``."""

    def __init__(self, address: Address, patience: Patience = Patience()) -> None:
        self._address, self._patience = address, patience
        config = {
            "connect_timeout": patience.connect_s,
            "read_timeout": patience.silent_s,
            "retries": {"mode": "standard", "total_max_attempts": 3},
            # Stores other than Amazon's know no trailing checksums; parts carry their MD5, objects their SHA-256.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        self._s3 = S3FileSystem(config_kwargs=config, skip_instance_cache=True, use_listings_cache=False)
        self._endpoint = ""
        self._bucket_seen = False

    @property
    def name(self) -> str:
        """See ``Remote.name``; asks nobody."""
        if not self._endpoint:
            with translated(str(self._address)):
                client = sync(self._s3.loop, self._s3.set_session, timeout=self._patience.call_s)
                self._endpoint = str(shown(client.meta.endpoint_url))
        return f"{self._address} at {self._endpoint}"

    def stat(self, key: str, *, hurry: bool) -> Stat | None:
        """One HEAD; see ``Remote.stat``."""
        within = self._patience.hurry_s if hurry else self._patience.call_s
        try:
            answer = self._call("head_object", within, Key=self._full(key))
        except Absent:
            self._see_bucket()
            return None
        return Stat(_tag(answer), int(answer["ContentLength"]), answer.get("Metadata", {}).get(_SHA256, ""))

    def read(self, key: str, version: Stat, target: int) -> None:
        """Parts of the object, some at a time; see ``Remote.read``."""

        def part(begin: int) -> None:
            end = min(begin + PART_BYTES, version.size)
            wanted = {"Key": self._full(key), "Range": f"bytes={begin}-{end - 1}", "IfMatch": f'"{version.tag}"'}
            try:
                content = self._call("get_object", self._patience.part_s, **wanted)["Body"]
            except Absent as error:
                raise Changed from error
            if len(content) != end - begin:
                raise Changed
            while content:
                written = os.pwrite(target, content, begin)
                content, begin = content[written:], begin + written

        _at_once(part, range(0, version.size, PART_BYTES))

    def write(self, source: Path, key: str, size: int, sha256: str) -> Stat:
        """One PUT, or an upload in parts that is aborted when one fails; see ``Remote.write``."""
        about = {"Key": self._full(key), "Metadata": {_SHA256: sha256}}
        try:
            if size <= PART_BYTES:
                answer = self._call("put_object", self._patience.part_s, **about, **_body(source, 0, size))
                return Stat(_tag(answer), size, sha256)
            return Stat(self._write_parts(source, size, about), size, sha256)
        except Absent as error:
            self._see_bucket()
            raise no_bucket(self.name) from error

    def keys(self, prefix: str) -> Iterator[str]:
        """Page by page; see ``Remote.keys``."""
        asked: dict[str, str] = {"Prefix": self._full(prefix)}
        while True:
            try:
                page = self._call("list_objects_v2", self._patience.call_s, **asked)
            except Absent as error:
                raise no_bucket(self.name) from error
            keys = (entry["Key"].removeprefix(self._address.prefix) for entry in page.get("Contents", ()))
            yield from (key for key in keys if not key.endswith("/"))  # such an object stands for a folder elsewhere
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def remove(self, key: str) -> None:
        """See ``Remote.remove``."""
        try:
            self._call("delete_object", self._patience.call_s, Key=self._full(key))
        except Absent:
            self._see_bucket()

    def close(self) -> None:
        """See ``Remote.close``."""
        with suppress(Exception):  # what cannot be closed goes with the process
            sync(self._s3.loop, self._closed, timeout=1)

    async def _closed(self) -> None:
        await (await self._s3.set_session()).close()

    def _write_parts(self, source: Path, size: int, about: dict[str, Any]) -> str:
        part_s, key = self._patience.part_s, about["Key"]
        length = max(PART_BYTES, -(-size // _MOST_PARTS))
        upload = self._call("create_multipart_upload", self._patience.call_s, **about)["UploadId"]
        to = {"Key": key, "UploadId": upload}

        def part(begin: int) -> dict[str, Any]:
            number = begin // length + 1
            body = _body(source, begin, min(length, size - begin))
            return {
                "PartNumber": number,
                "ETag": self._call("upload_part", part_s, PartNumber=number, **to, **body)["ETag"],
            }

        try:
            parts = _at_once(part, range(0, size, length))
            return self._complete(to, parts, about["Metadata"][_SHA256])
        except BaseException:
            with suppress(HeadraceError, Absent):
                self._call("abort_multipart_upload", self._patience.hurry_s, **to)
            raise

    def _complete(self, to: dict[str, Any], parts: list[dict[str, Any]], sha256: str) -> str:
        try:
            return _tag(
                self._call("complete_multipart_upload", self._patience.part_s, **to, MultipartUpload={"Parts": parts})
            )
        except Absent:
            # An attempt whose answer was lost has completed it: then there is no such upload any more.
            answer = self._call("head_object", self._patience.call_s, Key=to["Key"])
            if answer.get("Metadata", {}).get(_SHA256) != sha256:
                raise
            return _tag(answer)

    def _full(self, key: str) -> str:
        return f"{self._address.prefix}{key}"

    def _see_bucket(self) -> None:
        """Tell a store without the bucket from one without the object: a HEAD's answer does not."""
        if not self._bucket_seen:
            try:
                self._call("head_bucket", self._patience.call_s)
            except Absent as error:
                raise no_bucket(self.name) from error
            self._bucket_seen = True

    def _call(self, verb: str, within_s: float, **asked: Any) -> dict[str, Any]:
        with translated(self.name):
            answer: dict[str, Any] = sync(self._s3.loop, partial(self._asked, verb, asked), timeout=within_s)
        return answer

    async def _asked(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        client = await self._s3.set_session()
        answer: dict[str, Any] = await getattr(client, verb)(Bucket=self._address.bucket, **asked)
        if "Body" in answer:
            async with answer["Body"] as stream:
                answer["Body"] = await stream.read()
        return answer


def _at_once(work: Callable[[int], T], begins: range) -> list[T]:
    """Do it for each, some at a time and in this order; the first that fails ends it."""
    if len(begins) == 1:
        return [work(begins[0])]
    with ThreadPoolExecutor(_AT_ONCE, "store") as pool:
        return list(pool.map(work, begins))


def _body(source: Path, begin: int, length: int) -> dict[str, Any]:
    with source.open("rb") as reading:
        reading.seek(begin)
        content = reading.read(length)
    if len(content) != length:
        raise RunFailed("a file changed while it was put", where=str(source), fix="put it again, once it is whole")
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return {"Body": content, "ContentMD5": base64.b64encode(digest).decode()}


def _tag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')
