"""Speed of the environment, the optimum and training."""
