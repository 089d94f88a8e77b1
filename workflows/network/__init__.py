"""Data, training and prediction of any pose network."""
