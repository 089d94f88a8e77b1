"""Rounds: how a network is trained, what it predicts, and what is queued next."""
