"""Commands of multispin_env: ``multispin COMMAND``."""
