"""Other people's programs, as labelkit talks to them: pure conversion, and a thin wire."""
