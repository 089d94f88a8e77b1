"""The building blocks of the networks, one file for each part of the paper."""
