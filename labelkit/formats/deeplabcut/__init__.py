"""DeepLabCut and Lightning Pose: their tables of labels, in CSV and HDF5, and projects."""
