"""Gymnasium's side: the scalar and the vector environment."""

from multispin_env.envs.rewards import reference_goodput
from multispin_env.envs.scalar import MultiSpinEnv
from multispin_env.envs.vector import MultiSpinVectorEnv

__all__ = ["MultiSpinEnv", "MultiSpinVectorEnv", "reference_goodput"]
