"""The commands that score, one module each."""
