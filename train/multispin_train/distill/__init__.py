"""A small draft model for a target model."""
