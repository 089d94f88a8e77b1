"""The commands that look after a project as its images and its skeleton change, one module each."""
