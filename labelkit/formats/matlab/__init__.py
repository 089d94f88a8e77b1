"""Files of MATLAB that hold the poses of published data sets."""
