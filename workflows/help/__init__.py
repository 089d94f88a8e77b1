"""The commands that show and check labelkit, one module each."""
