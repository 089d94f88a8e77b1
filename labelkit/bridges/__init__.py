"""The programs that labelkit works with, Label Studio and FiftyOne: their APIs and servers."""
