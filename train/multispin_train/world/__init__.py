"""Pictures of what the world of `mobile` is like."""
