"""Predictions made visible: the FiftyOne App, HTML pages, contact sheets."""
