"""``headrace.conformance.ledger`` on ``headrace.engines.postgres.ledger``, on a real server."""

from pathlib import Path

import pytest

from headrace.conformance.ledger import LedgerSuite
from headrace.engines.postgres.ledger import open_ledger
from headrace.settings import Settings

pytestmark = pytest.mark.service


class TestPostgresLedger(LedgerSuite):
    @pytest.fixture
    def uri(self, postgres):
        return postgres.uri()

    @pytest.fixture
    def reopen(self, uri):
        return lambda: open_ledger(Settings(root=Path()), uri)

    @pytest.fixture
    def program(self, uri):
        return (
            "from pathlib import Path\nfrom headrace.engines.postgres.ledger import open_ledger\n"
            f"from headrace.settings import Settings\nledger = open_ledger(Settings(root=Path()), {uri!r})"
        )
