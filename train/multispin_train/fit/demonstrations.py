"""A teacher's demonstrations in a training's folder: drawn once, the same for every seed."""

from __future__ import annotations

from pathlib import Path

import torch
from multispin_agents.cloning import Demonstrations, collect_demonstrations, demonstration_rows
from multispin_agents.networks import ACTIONS_PER_USER, FEATURES
from multispin_agents.tensors import check_tensors, read_state, write_state
from multispin_baselines import Controller
from rich.progress import Progress

from multispin_env import ConfigError, SystemConfig

DEMONSTRATION_SEED = 0


def collect_once(
    file: Path, teacher: Controller, system: SystemConfig, layer: str, rounds: int, progress: Progress
) -> Demonstrations:
    """The demonstrations that the file holds, or new ones, which it then holds.

    Args:
        file: Where they are kept.
        teacher: Who decides.
        system: The system.
        layer: The action layer.
        rounds: Rounds to learn from.
        progress: Where progress is shown.

    Raises:
        ValueError: The file holds other demonstrations, or none.
    """
    if file.exists():
        return _read(file, system, rounds)
    task = progress.add_task("demonstrations", total=rounds)
    demonstrations = collect_demonstrations(
        teacher, system, layer, rounds, DEMONSTRATION_SEED, lambda played: progress.advance(task, played)
    )
    write_state(file, {name: torch.from_numpy(array) for name, array in demonstrations._asdict().items()})
    return demonstrations


def _read(file: Path, system: SystemConfig, rounds: int) -> Demonstrations:
    held = read_state(file)
    rows = demonstration_rows(rounds)
    expected = {
        "observations": torch.empty((rows, len(FEATURES) * system.num_users), device="meta"),
        "actions": torch.empty((rows, ACTIONS_PER_USER * system.num_users), device="meta"),
    }
    check_tensors(file, held, expected)
    if bool((held["actions"].abs() > 1.0).any()):
        raise ConfigError(f"{file}: tensor 'actions' must lie in [-1, 1]")
    return Demonstrations(held["observations"].numpy(), held["actions"].numpy())
