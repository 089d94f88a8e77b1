"""The networks that LOFR is compared with."""
