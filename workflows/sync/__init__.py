"""To Label Studio and back: questions out, answers and corrections in."""
