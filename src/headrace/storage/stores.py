"""The three ports that most rooms keep things with, as one argument."""

from dataclasses import dataclass

from headrace.storage.files import Files
from headrace.storage.ledger import Ledger
from headrace.storage.tables import Tables


@dataclass(frozen=True)
class Stores:
    """Facts, objects and tables of one environment."""

    ledger: Ledger
    files: Files
    tables: Tables
