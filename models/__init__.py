"""LOFR and its parts, baselines, losses and checkpoints. Imports torch and timm; nothing of ours."""
