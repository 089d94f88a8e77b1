"""Generated figures and a simulated annotator, for the demo and for tests."""
