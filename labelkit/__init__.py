"""labelkit: keypoint labels for a fraction of the clicks."""

__version__ = "0.1.0"
