"""The tables of the paper on a team's own labelled images."""
