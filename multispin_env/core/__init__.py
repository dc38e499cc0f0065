"""The system: pure batched NumPy over (num_envs, num_users), without Gymnasium."""

from multispin_env.core.equations import Allocation
from multispin_env.core.features import Feature
from multispin_env.core.simulator import RoundOutcome, Simulator, round_features
from multispin_env.core.view import EXACT, OUTDATED, RoundView, TrueView

__all__ = [
    "EXACT",
    "OUTDATED",
    "Allocation",
    "Feature",
    "RoundOutcome",
    "RoundView",
    "Simulator",
    "TrueView",
    "round_features",
]
