"""Rounds: what people have answered, how a network is trained on it, what is queued next."""
