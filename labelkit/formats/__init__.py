"""Pure conversions between labelkit and files, each with a round-trip test."""
