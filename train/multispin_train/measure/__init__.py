"""Measuring pairs of language models."""
