"""The system: pure batched NumPy over (num_envs, num_users), without Gymnasium."""

from multispin_env.core.equations import Allocation
from multispin_env.core.simulator import RoundOutcome, Simulator
from multispin_env.core.view import RoundView, TrueView

__all__ = ["Allocation", "RoundOutcome", "RoundView", "Simulator", "TrueView"]
