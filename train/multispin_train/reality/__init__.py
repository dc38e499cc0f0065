"""What measured model pairs say of the formulas."""
