"""Label Studio: its HTTP API, and a server of your own."""
