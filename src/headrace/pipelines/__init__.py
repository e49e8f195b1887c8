"""Steps, gates, plans, content keys, cache and runs; and the ports Executor, Codec and RunListener."""
