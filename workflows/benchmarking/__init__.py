"""The tables of the paper on your own labelled images."""
