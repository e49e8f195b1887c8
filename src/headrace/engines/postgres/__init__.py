"""The port Ledger on PostgreSQL."""
