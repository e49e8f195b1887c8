"""One folder an engine, one extra of the same name; nothing outside assembly chooses among them."""
