"""The scores that papers print, as the official code of each data set computes them."""
