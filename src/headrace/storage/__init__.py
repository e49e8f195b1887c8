"""Where bytes and facts are kept: the ports Files, Tables, Stream and Ledger, and the nouns they speak in."""
