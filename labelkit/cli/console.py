"""Moved: labelkit.progress holds what people see while a command works."""

from labelkit.progress import Console

__all__ = ["Console"]
