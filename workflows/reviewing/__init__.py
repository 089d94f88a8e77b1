"""What people look at: the FiftyOne App, HTML pages, contact sheets."""
