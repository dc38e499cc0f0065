"""A trained policy as a controller like any other, and the folder that it lives in."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from multispin_baselines import Controller

from multispin_agents.networks import Actor, Memory, Shape
from multispin_env import Allocation, RoundView, SystemConfig
from multispin_env.envs.actions import ACTIONS, make_action_codec
from multispin_env.envs.checks import check_choice
from multispin_env.envs.observations import ObservationCodec

SHIPPED = Path(__file__).parent / "policies"
CARD, WEIGHTS = "card.json", "actor.pt"


class LearnedController(Controller):
    """A trained actor: the same observation in, its mean action through the action layer out.

    Args:
        name: Its name in tables and files.
        actor: The actor.
        layer: The action layer that it was trained with.
        config: The system that it was trained on.
    """

    def __init__(self, name: str, actor: Actor, layer: str, config: SystemConfig) -> None:
        self.name = name  # type: ignore[misc]
        self.layer = check_choice("action", layer, tuple(ACTIONS))
        self.trained_on = config
        self._actor = actor
        self._memory: Memory | None = None
        self._checked: SystemConfig | None = None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The policy of a folder that ``multispin fit`` wrote, named after it.

        Args:
            path: The folder, or the name of a shipped policy.

        Raises:
            FileNotFoundError: There is no policy.
            ValueError: The card does not describe one.
        """
        folder = find_policy(path)
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        try:
            actor = Actor(Shape(**card["network"]))
            actor.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
            return cls(folder.name, actor, card["action"], SystemConfig.from_dict(card["system"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{folder / CARD} does not describe the policy beside it: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Writes the actor and its card.

        Args:
            folder: Where; made if need be.
            facts: JSON-able: how the policy came about.
        """
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self._actor.state_dict(), folder / WEIGHTS)
        card = {
            **facts,
            "action": self.layer,
            "network": asdict(self._actor.shape),
            "system": self.trained_on.to_dict(),
        }
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")

    def begin(self, lanes: int) -> None:
        """Forgets, where the actor has a memory."""
        self._memory = None

    def act(self, view: RoundView) -> Allocation:
        """The mean action's allocation. An actor with memory remembers the round.

        Warns:
            UserWarning: The system differs from the one trained on, in more than the number of users.

        Raises:
            ValueError: The policy cannot run on this system, or remembers other lanes than these.
        """
        if self._checked is not view.config:
            self._check(view.config)
            self._checked = view.config
            self._codec = make_action_codec(self.layer, view.config)
        lanes = len(view.drafting_latency_s)
        if self._memory is not None and self._memory[0].shape[1] != lanes:
            raise ValueError(
                f"policy {self.name!r} remembers {self._memory[0].shape[1]} lanes and is shown {lanes}; call begin "
                "where episodes begin"
            )
        with torch.inference_mode():
            observations = torch.from_numpy(ObservationCodec(view.config).encode(view))
            actions, self._memory = self._actor.mean_action(observations, self._memory)
        return self._codec.decode(np.clip(actions.numpy(), -1.0, 1.0), view)

    def _check(self, config: SystemConfig) -> None:
        shape, trained = self._actor.shape, self.trained_on
        if shape.network != "equivariant" and config.num_users != shape.num_users:
            raise ValueError(
                f"policy {self.name!r} has an {shape.network} network for {shape.num_users} users and cannot serve "
                f"{config.num_users}; equivariant ones serve any number"
            )
        # The observation is in these units.
        for field, unit, ours in (
            ("requests.tokens_high", shape.tokens_high, config.requests.tokens_high),
            ("max_draft_length", shape.max_draft_length, config.max_draft_length),
        ):
            if unit != ours:
                raise ValueError(f"policy {self.name!r} is for {field}={unit} and cannot read {ours}")
        then, now = dict(_flat(trained.to_dict())), dict(_flat(config.to_dict()))
        differing = [
            f"{name} ({then.get(name)} in training, {now.get(name)})"
            for name in then | now
            if then.get(name) != now.get(name) and name not in ("num_users", "episode_rounds")
        ]
        if differing:
            warnings.warn(f"policy {self.name!r} was trained on another system: {'; '.join(differing)}", stacklevel=3)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return pairs


def fingerprint(path: Path | str) -> str:
    """A digest of a policy's files, by which results are known to be its own."""
    folder = find_policy(path)
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in (CARD, WEIGHTS))).hexdigest()


def find_policy(path: Path | str) -> Path:
    """The folder of a policy.

    Args:
        path: The folder, or the name of a shipped policy.

    Raises:
        FileNotFoundError: There is no policy.
    """
    for folder in (Path(path), SHIPPED / path):
        if (folder / CARD).is_file() and (folder / WEIGHTS).is_file():
            return folder.resolve()
    shipped = sorted(card.parent.name for card in SHIPPED.glob(f"*/{CARD}"))
    raise FileNotFoundError(
        f"no policy in {path}: neither a folder with {CARD} and {WEIGHTS} nor one of the shipped policies "
        f"({', '.join(shipped) or 'none'})"
    )
