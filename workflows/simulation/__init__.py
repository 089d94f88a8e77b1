"""Whole projects played by a simulated annotator, and what they tell about human time."""
