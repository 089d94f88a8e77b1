"""LOFR and its parts, baselines, losses and checkpoints, on nothing but torch and timm."""
