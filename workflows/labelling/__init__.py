"""The labelling page: its server, the queue behind it, and what it writes into the journal."""
