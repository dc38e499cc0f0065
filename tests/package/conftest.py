"""What several test files need: systems to drive without an environment, and random decisions."""

import numpy as np
import pytest

from multispin_env import Allocation, Simulator, make_config


def _random_allocation(simulator, rng):
    """Any lengths, and shares from about equal to very unequal."""
    shape = simulator.num_envs, simulator.config.num_users
    length = rng.integers(1, simulator.config.max_draft_length, shape, endpoint=True)
    weight = np.exp(rng.normal(0.0, rng.uniform(0.1, 3.0), shape))
    return Allocation(length, weight / weight.sum(axis=1, keepdims=True))


def _equal_allocation(simulator, length):
    """The given length, broadcast over environments and users, and equal shares."""
    shape = simulator.num_envs, simulator.config.num_users
    return Allocation(np.broadcast_to(np.int64(length), shape).copy(), np.full(shape, 1.0 / shape[1]))


@pytest.fixture(scope="session")
def start(traced_pair):
    def start_simulator(scenario="paper", model_pair=None, num_envs=1, seed=0, **config):
        """A simulator after its reset; environment i has seed ``seed + i``."""
        model_pair = model_pair or (traced_pair if scenario == "trace" else "llama2")
        simulator = Simulator(make_config(scenario, model_pair, config), num_envs)
        simulator.reset([np.random.default_rng(seed + env_index) for env_index in range(num_envs)])
        return simulator

    return start_simulator


@pytest.fixture(scope="session")
def random_allocation():
    return _random_allocation


@pytest.fixture(scope="session")
def equal_allocation():
    return _equal_allocation
