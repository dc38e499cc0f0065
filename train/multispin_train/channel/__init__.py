"""Measured uplinks beside our models."""
