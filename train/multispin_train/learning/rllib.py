"""RLlib's PPO as it comes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

try:
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"the agent rllib needs RLlib: pip install 'ray[rllib]' ({error})") from error

from multispin_train.learning.evaluation import Observer
from multispin_train.learning.recipes import ENV_ID, REWARD, Recipe, World


@dataclass(frozen=True, kw_only=True)
class RLlibRecipe(Recipe):
    """PPO of the new API stack, all hyperparameters its own, in this process alone.

    Attributes:
        action: The environment's kind of action.
        total_timesteps: Steps to learn for.
    """

    action: str = "direct"
    total_timesteps: int = 160_000

    def facts(self) -> dict[str, Any]:
        """See :class:`Recipe`."""
        return {"library": f"RLlib {ray.__version__}", **asdict(self)}

    def learn(self, world: World, seed: int, observer: Observer) -> None:
        """See :class:`Recipe`."""
        config = (
            PPOConfig()
            .environment(f"multispin_env:{ENV_ID}", env_config={"action": self.action, "reward": REWARD, **world})
            .env_runners(num_env_runners=0)
            .debugging(seed=100_000 * seed, log_level="ERROR")
        )
        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            algorithm = config.build_algo()

            def act(observations: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
                with torch.no_grad():
                    output = algorithm.get_module().forward_inference({"obs": torch.from_numpy(observations)})
                # Means, then logarithms of standard deviations.
                means: np.ndarray[Any, Any] = output["action_dist_inputs"].chunk(2, dim=1)[0].numpy()
                return np.clip(means, -1.0, 1.0)

            timesteps = 0
            observer.show(timesteps, act)
            while timesteps < self.total_timesteps:
                timesteps = int(algorithm.train()["num_env_steps_sampled_lifetime"])
                observer.show(timesteps, act)
            algorithm.stop()
        finally:
            ray.shutdown()


def make_recipe(name: str) -> RLlibRecipe:
    """The only recipe."""
    return RLlibRecipe()
