"""Label Studio: questions go out, answers and corrections come back."""
