"""The commands of the loop, one module each."""
