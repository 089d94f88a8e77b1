"""The label store: an append-only journal of what people answered, in any SQL database."""
