"""FiftyOne: the dataset of a project, its views, the maps it shows, and its database."""
