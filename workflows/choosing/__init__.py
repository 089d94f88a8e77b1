"""What is labelled next: what a round says of each object, the strategies, and their records."""
