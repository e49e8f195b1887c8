"""Our topics on a cluster: what they are called, whether they are there, and how they are made."""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import fault, translated
from headrace.refs import checked_name

WITHIN_S = 5.0
"""How long a broker may take for anything."""


class Topics:
    """Topics of one project, each with one partition, so that all of its records have one order.

    Args:
        address: The cluster.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._known: set[str] = set()
        self._client: AdminClient | None = None

    def named(self, topic: str) -> str:
        """What Kafka calls ``topic``; raise ``NameRefused`` if it may not be called so."""
        return f"{self._address.prefix}.{checked_name(topic, of='topic')}"

    @property
    def cursors(self) -> str:
        """The topic of reader cursors; no name of a topic of records can be the same."""
        return f"{self._address.prefix}-cursors"

    def _exists(self, name: str) -> bool:
        """Whether the cluster has this topic. Asking for one by name would make it, on many clusters."""
        if name not in self._known:
            with translated(self._address.brokers):
                self._known.update(self._admin().list_topics(timeout=WITHIN_S).topics)
        return name in self._known

    def make(self, name: str, *, compact: bool = False, partitions: int = 1, keep_ms: int = -1) -> None:
        """Make the topic unless it is there.

        Args:
            name: What Kafka calls it.
            compact: Keep the newest message of each key instead of all.
            partitions: How many.
            keep_ms: For how long messages are kept; -1 for ever.
        """
        if self._exists(name):
            return
        kept: Mapping[str, str] = {"cleanup.policy": "compact"} if compact else {"retention.ms": str(keep_ms)}
        asked = NewTopic(name, partitions, self._address.replicas, config=dict(kept))
        try:
            with translated(self._address.brokers):
                (made,) = self._admin().create_topics([asked], request_timeout=WITHIN_S).values()
            made.result(WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another host was faster
                raise fault(error.args[0], f"{self._address.brokers} {name}") from error
        self._known.add(name)

    def delete_before(self, name: str, message: int) -> None:
        """Delete all messages of a topic before this one."""
        with translated(f"{self._address.brokers} {name}"):
            asked = self._admin().delete_records([TopicPartition(name, 0, message)], request_timeout=WITHIN_S)
            for each in asked.values():
                each.result(WITHIN_S)

    def identity(self, name: str) -> str:
        """What tells this topic from one that had its name before; some brokers do not say."""
        with translated(f"{self._address.brokers} {name}"):
            asked = self._admin().describe_topics(TopicCollection([name]), request_timeout=WITHIN_S)
            return str(asked[name].result(WITHIN_S).topic_id)

    def close(self) -> None:
        """End the client's threads."""
        self._client = None

    def _admin(self) -> AdminClient:
        if self._client is None:
            self._client = AdminClient(self._address.properties())
        return self._client
