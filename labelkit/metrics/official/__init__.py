"""The scores in papers, as the official code of each data set computes them."""
