"""The commands, in rooms as `labelkit --help` groups them, and the rooms that they share."""
