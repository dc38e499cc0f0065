"""Multi-SPIN as a reinforcement-learning environment, with its closed-form optimum.

Importing this package registers ``multispin_env/Homogeneous-v0`` and ``multispin_env/Heterogeneous-v0`` with Gymnasium.
"""

from gymnasium.envs.registration import register

from multispin_env.config import ConfigError, SystemConfig
from multispin_env.core import Allocation, RoundView, Simulator
from multispin_env.profiles import MODEL_PAIRS, PAPER_PAIRS, register_model_pair
from multispin_env.scenarios import SCENARIOS, make_config, register_scenario

__version__ = "0.1.0"

__all__ = [
    "MODEL_PAIRS",
    "PAPER_PAIRS",
    "SCENARIOS",
    "Allocation",
    "ConfigError",
    "RoundView",
    "Simulator",
    "SystemConfig",
    "make_config",
    "register_model_pair",
    "register_scenario",
]

for _lengths in ("homogeneous", "heterogeneous"):
    register(
        id=f"multispin_env/{_lengths.capitalize()}-v0",
        entry_point="multispin_env.envs:MultiSpinEnv",
        vector_entry_point="multispin_env.envs:MultiSpinVectorEnv",
        kwargs={"draft_lengths": _lengths},
    )
