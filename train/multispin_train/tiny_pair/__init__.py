"""Making the tiny pair of byte-level models."""
