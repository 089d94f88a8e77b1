"""Scores of predictions against human labels, and what in either needs a second look."""
