"""Into the project: images, boxes and labels that exist already."""
