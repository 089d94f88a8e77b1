"""The commands for reviewing and choosing what to label, one module each."""
