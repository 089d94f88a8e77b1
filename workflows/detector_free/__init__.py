"""Training and scoring of networks that find objects without boxes, from few labelled images."""
