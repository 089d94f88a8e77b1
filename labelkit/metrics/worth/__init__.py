"""What labels are worth: what pre-annotation saves, and what more of them bring."""
