"""Learned controllers: action layers, networks for a set of users, algorithms, and trained policies as controllers.

The names below are here so that they can be read without PyTorch.
"""

AGENTS = ("ppo", "sac", "recurrent-ppo")
NETWORKS = ("equivariant", "mlp")
