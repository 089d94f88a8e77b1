"""Skeletons, poses, predictions, objects in images, and pure functions on them."""
