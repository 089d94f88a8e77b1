"""Scores of predictions against human labels, and what is doubtful about them."""
