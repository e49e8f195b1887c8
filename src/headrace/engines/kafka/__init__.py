"""Kafka: streams on a cluster, written and read by any number of hosts."""
