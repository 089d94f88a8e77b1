"""Predictions for tasks while annotators open them."""
