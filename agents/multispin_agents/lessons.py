"""Lessons before an agent learns by itself: it plays, and a controller tells what it would have done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from multispin_baselines import Controller

from multispin_agents.networks import ActorCritic
from multispin_env.integrations.sb3 import SB3VecEnv

_LEARNING_RATE = 3e-3


def take_lessons(
    network: ActorCritic,
    teacher: Controller,
    envs: Sequence[SB3VecEnv],
    rounds: int,
    on_rounds: Callable[[int], None] = lambda rounds: None,
) -> None:
    """Fits an actor to a teacher's decisions, and the critic to the rewards, in the worlds that the actor's play makes.

    So the actor is taught where it will be (DAgger, Ross et al., arXiv 1011.0686), and no round is seen twice. Rewards
    of single rounds are the values where the discount is 0, and a start for the critic elsewhere.

    Args:
        network: Whose weights are fitted, by least squares.
        teacher: Who is imitated, in the actions that encode its decisions.
        envs: Where, in turn.
        rounds: Rounds in all, one gradient step for each batch of them.
        on_rounds: Called with the number of rounds just played, for progress.
    """
    observations: list[Any] = [env.reset() for env in envs]
    steps = -(-rounds // envs[0].num_envs)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        place = step % len(envs)
        env = envs[place]
        wanted = env.env_method("encode_action", teacher.act(env.env_method("round_view")[0]))[0]
        actions, values, _ = network(torch.as_tensor(observations[place]))
        observations[place], rewards, _, _ = env.step(actions.detach().numpy())
        loss = torch.mean((actions - torch.as_tensor(wanted)) ** 2)
        loss = loss + torch.mean((values[:, 0] - torch.as_tensor(rewards)) ** 2)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_rounds(env.num_envs)
