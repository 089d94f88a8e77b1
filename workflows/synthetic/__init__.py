"""Generated figures and an annotator who knows the truth, for the demo and for tests."""
