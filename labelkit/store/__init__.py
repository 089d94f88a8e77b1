"""The label store: images, objects and an append-only journal of answers, in a SQL database."""
