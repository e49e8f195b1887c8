"""A real store of the S3 protocol, SeaweedFS; see ``programs``."""

import uuid

from programs import Program, program
from s3fs import S3FileSystem
from server_process import until

from headrace.placement.services import free_port

BUCKET = "streams"
SECRETS = {"AWS_ACCESS_KEY_ID": "streams", "AWS_SECRET_ACCESS_KEY": "streams-secret"}
_PORTS = (
    *(f"{part}.port{kind}" for part in ("master", "filer", "volume", "s3", "admin") for kind in ("", ".grpc")),
    *("s3.port.iceberg", "s3.port.lance"),
)
_LEFT_OUT = ("-webdav=false", "-admin.ui=false", "-master.telemetry=false")


class Store(Program):
    """A store in a process of its own."""

    def start(self, within_s=30):
        """Until it has its bucket, which is some time after it listens."""
        super().start(within_s)
        until(lambda: self.seen().exists(BUCKET), within_s)
        return self

    def seen(self):
        """The store through another client than the engine's."""
        keys = {"key": SECRETS["AWS_ACCESS_KEY_ID"], "secret": SECRETS["AWS_SECRET_ACCESS_KEY"]}
        return S3FileSystem(endpoint_url=f"http://{self.address}", **keys, use_listings_cache=False)

    def uri(self):
        """The setting of a project that has a part of the bucket of its own here."""
        return f"s3://{BUCKET}/p{uuid.uuid4().hex[:12]}"

    def variables(self):
        """How a client is told of it."""
        return {**SECRETS, "AWS_ENDPOINT_URL": f"http://{self.address}", "AWS_REGION": "us-east-1"}


def weed(folder):
    """A store with one bucket; what it acknowledged outlives it, and whoever keeps things there."""
    ports = {name: free_port() for name in _PORTS}
    options = [f"-{name}={port}" for name, port in ports.items()]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-bucket={BUCKET}", *_LEFT_OUT]
    return Store([program("weed"), "mini", *here, *options], ports["s3.port"], folder / "weed.log", SECRETS)
