"""A small typed HTTP client for headrace servers."""

from headrace.client.connection import Reply
from headrace.client.endpoint import Answer, Client

__all__ = ["Answer", "Client", "Reply"]
