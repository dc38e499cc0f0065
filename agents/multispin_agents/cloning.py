"""Behavior cloning: a controller's decisions as an action layer's numbers, and regression on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from multispin_baselines import Controller
from numpy.typing import NDArray

from multispin_agents.networks import ActorCritic, make_network_codec
from multispin_env import Simulator, SystemConfig
from multispin_env.envs.observations import ObservationCodec

# Rounds after which the teacher's worlds are drawn anew, and environments played at once.
_EPISODE_ROUNDS = 40
_NUM_ENVS = 64
_BATCH = 512
_LEARNING_RATE = 3e-3


class Demonstrations(NamedTuple):
    """Observations, (rounds, 11 users), and the actions to learn for them, (rounds, 2 users)."""

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]


def demonstration_rows(rounds: int) -> int:
    """Rounds of the demonstrations that :func:`collect_demonstrations` gives for so many: whole batches."""
    return -(-rounds // _NUM_ENVS) * _NUM_ENVS


def collect_demonstrations(
    teacher: Controller,
    config: SystemConfig,
    layer: str,
    rounds: int,
    seed: int,
    on_rounds: Callable[[int], None] = lambda rounds: None,
) -> Demonstrations:
    """The teacher's decisions in worlds that it plays itself, through an action layer.

    Args:
        teacher: Who decides.
        config: The system.
        layer: The action layer.
        rounds: Rounds to play, over all environments; rounded up to whole batches.
        seed: Decides the worlds.
        on_rounds: Called with the number of rounds just played, for progress.

    Raises:
        ValueError: The layer's actions cannot be told from decisions.
    """
    observe = ObservationCodec(config).encode
    codec = make_network_codec(layer, config)
    simulator = Simulator(config, _NUM_ENVS)
    observations, actions = [], []
    for batch in range(demonstration_rows(rounds) // _NUM_ENVS):
        if batch % _EPISODE_ROUNDS == 0:
            simulator.reset([np.random.default_rng([seed, batch, index]) for index in range(_NUM_ENVS)])
        view = simulator.view()
        observations.append(observe(view))
        actions.append(codec.encode(teacher.act(view), view))
        simulator.step(codec.decode(actions[-1], view))
        on_rounds(_NUM_ENVS)
    return Demonstrations(np.concatenate(observations), np.concatenate(actions))


def behavior_clone(
    network: ActorCritic, demonstrations: Demonstrations, epochs: int, on_epoch: Callable[[], None] = lambda: None
) -> float:
    """Fits the actor to the demonstrations by least squares; returns the mean squared error of the last epoch."""
    observations, actions = torch.from_numpy(demonstrations.observations), torch.from_numpy(demonstrations.actions)
    optimizer = torch.optim.Adam(network.actor.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(actions) // _BATCH))
    for _ in range(epochs):
        errors = []
        for batch in torch.split(torch.randperm(len(actions)), _BATCH):
            loss = torch.mean((network.mean_action(observations[batch]) - actions[batch]) ** 2)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            errors.append(loss.item())
        on_epoch()
    return float(np.mean(errors))
