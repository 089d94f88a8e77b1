"""Upkeep: what to do when the images or the skeleton of a project change."""
