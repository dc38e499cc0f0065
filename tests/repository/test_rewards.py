"""The mean of the reward `time-priced` orders the reference controllers as their goodput does."""

from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
from multispin_baselines import make_controller

CONTROLLERS = ("fixed", "uniform", "homogeneous", "heterogeneous", "posterior", "predictive", "clairvoyant")
SEEDS, ROUNDS = 24, 60
# Differences below so many standard errors are noise and in no order.
NOISE = 2.0


def played(name: str, world: dict[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, seconds and mean reward of an episode, of every seed."""
    envs: Any = gym.make_vec(
        "multispin_env/Heterogeneous-v0", SEEDS, reward="time-priced", config={"episode_rounds": ROUNDS}, **world
    ).unwrapped
    envs.reset(seed=0)
    controller = make_controller(name, "llama2")
    controller.reset(SEEDS)
    rewards = np.zeros(SEEDS)
    for _ in range(ROUNDS):
        view = envs.true_round_view() if controller.privileged else envs.round_view()
        _, reward, _, _, info = envs.step_allocation(controller.act(view))
        rewards += reward / ROUNDS
    return info["episode_tokens"], info["episode_seconds"], rewards


def test_time_priced_orders_the_reference_controllers_as_their_goodput_does(world: dict[str, str]) -> None:
    results = {name: played(name, world) for name in CONTROLLERS}
    ordered = 0
    for one, other in combinations(CONTROLLERS, 2):
        goodputs, deviations, means = [], [], []
        for tokens, seconds, rewards in (results[one], results[other]):
            goodput = tokens.sum() / seconds.sum()
            goodputs.append(goodput)
            deviations.append((tokens - goodput * seconds) / seconds.mean())  # of the ratio, by the delta method
            means.append(rewards.mean())
        difference = goodputs[0] - goodputs[1]
        noise = np.std(deviations[0] - deviations[1], ddof=1) / np.sqrt(SEEDS)
        if abs(difference) > max(NOISE * noise, 1e-9):
            ordered += 1
            assert (means[0] - means[1]) * difference > 0.0, f"{one} {goodputs[0]:.1f} and {other} {goodputs[1]:.1f}"
    assert ordered >= 8  # so that there was something to order
