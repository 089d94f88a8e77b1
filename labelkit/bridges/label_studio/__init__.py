"""Label Studio: its HTTP API, and the server that labelkit starts."""
