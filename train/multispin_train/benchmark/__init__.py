"""The reference protocol as a command."""
