"""A project folder: its settings, its images, and the rounds with their predictions and maps."""
