"""Behavior cloning: a controller's decisions as an action layer's numbers, and regression on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from multispin_baselines import Controller
from numpy.typing import NDArray

from multispin_agents.layers import ACCEPTANCE_REACH, LAYERS, RATE_REACH
from multispin_agents.networks import ActorCritic
from multispin_env import Allocation, RoundView, Simulator, SystemConfig
from multispin_env.core import EXACT
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.envs.actions import ActionCodec
from multispin_env.envs.checks import check_choice
from multispin_env.envs.observations import ObservationCodec
from multispin_env.optimal import RoundProblem, equalize_bandwidth

# In aged fading, the latency that the closed form is to expect, over the longest drafting: one of the many that explain
# a decision. Ours: of 1.1 to 3 the smaller ones keep most of the teacher's goodput, and their tilts stay within reach.
_LATENCY_OVER_DRAFTING = 1.15
_BISECTIONS = 60
_ACCEPTANCES = np.concatenate([[1e-6], np.linspace(0.01, 0.98, 98), 1.0 - np.geomspace(0.015, 1e-5, 20)])
# Rounds after which the teacher's worlds are drawn anew, and environments played at once.
_EPISODE_ROUNDS = 40
_NUM_ENVS = 64
_BATCH = 512
_LEARNING_RATE = 3e-3


class Demonstrations(NamedTuple):
    """Observations, (rounds, 11 users), and the actions to learn for them, (rounds, 2 users)."""

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]


def encode(allocation: Allocation, view: RoundView) -> NDArray[np.float32]:
    """The direct actions for this allocation, (num_envs, 2 users)."""
    return ActionCodec(view.config, "heterogeneous", "agent").encode(allocation)


def invert_action(allocation: Allocation, view: RoundView) -> NDArray[np.float32]:
    """Residual actions under which the closed form comes to (nearly) this allocation, (num_envs, 2 users).

    The closed form equalises the users' latency, and a token's utility is its price in latency. For a given latency the
    first condition tells the rates that explain the shares, the second (its stationarity condition, between whose
    integers the rounding decides) the acceptances that explain the lengths, up to one factor a round, which follows
    from the goodput. Tilts beyond the layer's reach are cut off. Where the rates are known the latency is the one that
    they give.
    """
    config = view.config
    length = allocation.draft_length.astype(np.float64)
    drafting_s = length * view.drafting_latency_s
    if view.csi == EXACT:
        latency_s = equalize_bandwidth(RoundProblem.from_view(view), allocation.draft_length)[0][:, np.newaxis]
    else:
        latency_s = _LATENCY_OVER_DRAFTING * np.max(drafting_s, axis=1, keepdims=True)
    upload_s = latency_s - drafting_s
    load_s = allocation.bandwidth_share * upload_s
    rate = config.payload_bits * length / (config.bandwidth_hz * load_s)
    acceptance = _acceptance(
        allocation, load_s / length / np.square(upload_s), latency_s[:, 0], config.verification_latency_s
    )
    mean = view.task_acceptance_mean
    tilts = [
        np.log(rate / view.observed_spectral_efficiency) / RATE_REACH,
        np.log(acceptance / (1.0 - acceptance) * (1.0 - mean) / mean) / ACCEPTANCE_REACH,
    ]
    return np.clip(np.concatenate(tilts, axis=1), -1.0, 1.0).astype(np.float32)


def _acceptance(allocation: Allocation, weight: FloatArray, latency_s: FloatArray, verification_s: float) -> FloatArray:
    """Acceptances whose next token has the utility ``weight``, times what the goodput fixes, (num_envs, users)."""
    lengths = np.arange(1, allocation.draft_length.max() + 1)
    grid = _ACCEPTANCES[:, np.newaxis]
    utility = -(grid ** (lengths + 1.0)) * np.log(grid) / (1.0 - grid)
    total_weight = np.sum(weight * allocation.draft_length, axis=1)
    low, high = np.full(len(weight), 1e-6), np.full(len(weight), 1e6)
    acceptance = np.empty_like(weight)
    for _ in range(_BISECTIONS):
        factor = np.sqrt(low * high)
        price = weight * factor[:, np.newaxis]
        for length in np.unique(allocation.draft_length):
            users = allocation.draft_length == length
            acceptance[users] = np.interp(price[users], utility[:, length - 1], _ACCEPTANCES)
        tokens = np.sum(expected_tokens(acceptance, allocation.draft_length), axis=1)
        wanted = tokens / (latency_s + verification_s) * latency_s / total_weight
        low, high = np.where(factor > wanted, low, factor), np.where(factor > wanted, factor, high)
    return acceptance


_INVERSES = {"direct": encode, "residual": invert_action}


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
    check_choice("action, to learn from a teacher,", layer, tuple(_INVERSES))
    observe = ObservationCodec(config).encode
    simulator = Simulator(config, _NUM_ENVS)
    observations, actions = [], []
    for batch in range(demonstration_rows(rounds) // _NUM_ENVS):
        if batch % _EPISODE_ROUNDS == 0:
            simulator.reset([np.random.default_rng([seed, batch, index]) for index in range(_NUM_ENVS)])
        view = simulator.view()
        observations.append(observe(view))
        actions.append(_INVERSES[layer](teacher.act(view), view))
        simulator.step(LAYERS[layer](actions[-1], view))
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
