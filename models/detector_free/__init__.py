"""Networks that find every object of an image and its keypoints, without boxes; torch only."""
