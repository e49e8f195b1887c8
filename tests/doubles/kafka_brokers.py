"""Real brokers of the Kafka protocol; see ``programs``."""

import uuid

from programs import PROGRAMS, Program, program
from s3_store import BUCKET, SECRETS

from headrace.placement.services import free_port


class Broker(Program):
    """A broker in a process of its own."""

    def uri(self):
        """The setting of a project that has topics of its own here."""
        return f"kafka://{self.address}/p{uuid.uuid4().hex[:12]}"


def noida(folder):
    """Keeps records in memory: it may freeze, but must not die."""
    port = free_port()
    command = [program("noida-db"), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]
    # Its wheel has a launcher of the same name; the program itself is a file of some MB.
    command[0] = next(str(p) for p in PROGRAMS.rglob("noida-db") if p.is_file() and p.stat().st_size > 1_000_000)
    return Broker(command, port, folder / "noida.log")


def tansu(folder, storage="memory://tansu/", environment=None):
    """Keeps records in memory, or in an object store."""
    port = free_port()
    at = f"tcp://127.0.0.1:{port}"
    command = [program("tansu"), "broker", "--listener-url", at, "--advertised-listener-url", at]
    return Broker([*command, "--storage-engine", storage], port, folder / "tansu.log", environment)


def tansu_on(store, folder):
    """Keeps what it acknowledged in an object store, so that it may be killed and started again."""
    where = {"AWS_ENDPOINT": f"http://{store.address}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    return tansu(folder, f"s3://{BUCKET}/", {**SECRETS, **where})
