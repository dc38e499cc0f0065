"""What standard agents learn with no help of ours: the environment's actions and rewards, stable-baselines3, a seed."""
