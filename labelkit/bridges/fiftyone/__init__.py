"""FiftyOne: the dataset of a project, its views, its response maps, and its database."""
