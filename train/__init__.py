"""Commands: ``python -m train COMMAND``."""
