"""The study of learned controllers."""
