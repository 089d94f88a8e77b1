"""The loop: one module a command, and the data, training and inference they share."""
