"""What labelkit is about: skeletons, poses, objects in images, and pure functions on them."""
