"""The environments as other libraries want them, a module each. Importing one imports its library."""
