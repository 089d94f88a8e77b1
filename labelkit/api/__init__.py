"""The Python API: a project whose methods are the commands, its predictions, its data frames."""
