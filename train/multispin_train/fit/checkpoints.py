"""Checkpoints: how far an agent's training is, in one file of tensors and integers that is replaced as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from multispin_agents.tensors import check_tensors, read_state, write_state
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from multispin_env import ConfigError
from multispin_env.config.validation import Checked, check_fields, shown, whole

_MOST = 2**62
_REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True, kw_only=True)
class _Counters(Checked):
    """What an agent has counted; the last two are 0 where nothing is replayed."""

    chunks: int = whole(0, _MOST)
    timesteps: int = whole(0, _MOST)
    updates: int = whole(0, _MOST)
    episodes: int = whole(0, _MOST)
    replay_rows: int = whole(0, _MOST)
    replay_position: int = whole(0, _MOST)


def save_checkpoint(file: Path, agent: BaseAlgorithm, chunks: int, *, last: bool) -> None:
    """Creates or replaces the checkpoint of an agent between two chunks.

    Random numbers are not part of it, nor are the environments: each chunk starts with its own.

    Args:
        file: The file.
        agent: The agent.
        chunks: Chunks trained so far.
        last: Whether no chunk follows, and what is replayed can be left out.
    """
    replays = isinstance(agent, SAC) and not last
    buffer = agent.replay_buffer if isinstance(agent, SAC) else None
    counters = _Counters(
        chunks=chunks,
        timesteps=agent.num_timesteps,
        updates=agent._n_updates,
        episodes=agent._episode_num,
        replay_rows=buffer.size() if buffer is not None and replays else 0,
        replay_position=buffer.pos if buffer is not None and replays else 0,
    )
    write_state(file, {**asdict(counters), "tensors": _trained_tensors(agent, counters.replay_rows)})


def chunks_done(file: Path) -> int | None:
    """Chunks trained up to the checkpoint; None if there is none.

    Raises:
        ValueError: The file holds something else.
    """
    return _read(file)[0].chunks if file.exists() else None


def restore_checkpoint(file: Path, agent: BaseAlgorithm) -> None:
    """Makes a new agent the one of the checkpoint.

    Args:
        file: The file.
        agent: A new agent of the same training.

    Raises:
        ValueError: The file holds something else, or another agent; the message names the file and the tensor.
    """
    counters, found = _read(file)
    if isinstance(agent, SAC):
        assert agent.replay_buffer is not None
        size = agent.replay_buffer.buffer_size
        full = counters.replay_rows == size
        if counters.replay_rows > size or not (full or counters.replay_position == counters.replay_rows):
            raise ConfigError(
                f"{file}: replay_rows and replay_position must be those of a buffer of {size} rows, got "
                f"{counters.replay_rows} and {counters.replay_position}"
            )
        agent.replay_buffer.full, agent.replay_buffer.pos = full, counters.replay_position % size
    _make_moments(agent, found)
    trained = _trained_tensors(agent, counters.replay_rows)
    check_tensors(file, found, trained)
    with torch.no_grad():
        for name, tensor in trained.items():
            if name.endswith(("/step", "/exp_avg_sq")) and bool((found[name] < 0).any()):
                raise ConfigError(f"{file}: tensor {name!r} must not be negative anywhere")
            tensor.copy_(found[name])
    agent.num_timesteps = counters.timesteps
    agent._n_updates, agent._episode_num = counters.updates, counters.episodes


def _read(file: Path) -> tuple[_Counters, dict[str, Any]]:
    state = read_state(file)
    known = [item.name for item in fields(_Counters)]
    try:
        check_fields("a checkpoint", state, [*known, "tensors"], [*known, "tensors"])
        if not isinstance(state["tensors"], dict) or not all(isinstance(name, str) for name in state["tensors"]):
            raise ConfigError(f"tensors must be tensors by name, got {shown(state['tensors'])}")
        return _Counters(**{name: state[name] for name in known}), dict(state["tensors"])
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _trained_tensors(agent: BaseAlgorithm, replay_rows: int) -> dict[str, Tensor]:
    """Whatever training changes, by name. The tensors share the agent's memory."""
    tensors: dict[str, Tensor] = {f"policy/{name}": tensor for name, tensor in agent.policy.state_dict().items()}
    for name, optimizer in _optimizers(agent).items():
        for index, parameter in enumerate(_parameters(optimizer)):
            if parameter in optimizer.state:
                moments = optimizer.state[parameter]
                tensors |= {f"{name}/{index}/{moment}": tensor for moment, tensor in moments.items()}
    if isinstance(agent, SAC):
        assert agent.log_ent_coef is not None
        tensors["log_ent_coef"] = agent.log_ent_coef.detach()
        if replay_rows:
            tensors |= {
                f"replay/{name}": torch.from_numpy(getattr(agent.replay_buffer, name)[:replay_rows])
                for name in _REPLAYED
            }
    return tensors


def _make_moments(agent: BaseAlgorithm, found: Mapping[str, Any]) -> None:
    """Gives Adam the moments, still 0, that it has once it has stepped, for the parameters that it has them for."""
    for name, optimizer in _optimizers(agent).items():
        parameters = _parameters(optimizer)
        for key in found:
            match = re.fullmatch(rf"{name}/(\d{{1,6}})/step", key)
            if match is not None and int(match[1]) < len(parameters):
                parameter = parameters[int(match[1])]
                optimizer.state[parameter] = {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }


def _optimizers(agent: BaseAlgorithm) -> dict[str, torch.optim.Optimizer]:
    if isinstance(agent, SAC):
        assert agent.ent_coef_optimizer is not None
        return {
            "actor_optimizer": agent.actor.optimizer,
            "critic_optimizer": agent.critic.optimizer,
            "ent_coef_optimizer": agent.ent_coef_optimizer,
        }
    return {"optimizer": agent.policy.optimizer}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
