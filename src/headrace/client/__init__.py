"""A small typed HTTP client for headrace servers."""

from headrace.client.connection import Reply
from headrace.client.endpoint import Answer, Client
from headrace.client.overview import Overview

__all__ = ["Answer", "Client", "Overview", "Reply"]
