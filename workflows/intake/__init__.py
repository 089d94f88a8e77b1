"""Into the project: images, boxes and existing labels."""
