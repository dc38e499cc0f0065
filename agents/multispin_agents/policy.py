"""A trained policy as a controller like any other, and the folder that it lives in."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from multispin_baselines import Controller

from multispin_agents.networks import FEATURES, Actor, Memory, NetworkConfig, make_network_codec
from multispin_agents.tensors import check_tensors, read_state, write_state
from multispin_env import Allocation, ConfigError, RoundView, SystemConfig
from multispin_env.config.validation import from_mapping, shown
from multispin_env.envs.actions import ACTIONS
from multispin_env.envs.checks import check_choice
from multispin_env.envs.observations import ObservationCodec
from multispin_env.files import read_json, write_atomically

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
        self.name = name
        wanted, outputs = make_network_codec(layer, config).numbers() // config.num_users, actor.config.outputs
        if outputs != wanted:
            raise ConfigError(f"network.outputs must be {wanted} for action {layer!r}, got {outputs}")
        self.layer = layer
        self.trained_on = config
        self._actor = actor
        self._memory: Memory | None = None
        self._checked: SystemConfig | None = None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The policy of a folder that ``multispin fit`` wrote, named after it.

        Nothing in the folder is run: the card is JSON, and the weights are read as tensors and nothing else.

        Args:
            path: As for :func:`find_policy`.

        Raises:
            FileNotFoundError: There is no policy.
            ValueError: The card does not describe one, or the weights are not those of the network on it; the message
                names the file and the place.
        """
        folder = find_policy(path)
        network, layer, system = _read_card(folder / CARD)
        weights = read_state(folder / WEIGHTS)
        with torch.device("meta"):  # a card can ask for more memory than there is
            expected = Actor(network).state_dict()
        check_tensors(folder / WEIGHTS, weights, expected)
        actor = Actor(network)
        actor.load_state_dict(weights)
        return cls(folder.name, actor, layer, system)

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Writes the actor and its card.

        Args:
            folder: Where; made if need be.
            facts: JSON-able: how the policy came about.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder / WEIGHTS, self._actor.state_dict())
        card = {
            **facts,
            "action": self.layer,
            "features": FEATURES,
            "network": asdict(self._actor.config),
            "system": self.trained_on.to_dict(),
        }
        write_atomically(folder / CARD, json.dumps(card, indent=2) + "\n")

    def reset(self, num_envs: int) -> None:
        """Forgets, where the actor has a memory."""
        self._memory = None

    def act(self, view: RoundView) -> Allocation:
        """The mean action's allocation. An actor with memory remembers the round.

        Warns:
            UserWarning: The system differs from the one trained on, in more than the number of users.

        Raises:
            ValueError: The policy cannot run on this system, remembers other environments, or comes to no numbers.
        """
        if self._checked is not view.config:
            self._check(view.config)
            self._checked = view.config
            self._codec = make_network_codec(self.layer, view.config)
        num_envs = len(view.drafting_latency_s)
        if self._memory is not None and self._memory[0].shape[1] != num_envs:
            raise ValueError(
                f"policy {self.name!r} remembers {self._memory[0].shape[1]} environments and is shown {num_envs}; "
                "call reset where episodes begin"
            )
        with torch.inference_mode():
            observations = torch.from_numpy(ObservationCodec(view.config).encode(view))
            actions, self._memory = self._actor.mean_action(observations, self._memory)
        if not bool(torch.isfinite(actions).all()):
            raise ValueError(f"policy {self.name!r} comes to actions that are no numbers; its weights are too large")
        return self._codec.decode(np.clip(actions.numpy(), -1.0, 1.0), view)

    def _check(self, config: SystemConfig) -> None:
        network, trained = self._actor.config, self.trained_on
        if network.network != "equivariant" and config.num_users != network.num_users:
            raise ValueError(
                f"policy {self.name!r} has an {network.network} network for {network.num_users} users and cannot serve "
                f"{config.num_users}; equivariant ones serve any number"
            )
        # The observation is in these units.
        for field, unit, ours in (
            ("requests.tokens_high", network.tokens_high, config.requests.tokens_high),
            ("max_draft_length", network.max_draft_length, config.max_draft_length),
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


def _read_card(file: Path) -> tuple[NetworkConfig, str, SystemConfig]:
    """The network, the action layer and the system that a card names.

    Raises:
        ValueError: It names none; the message names the file and the field.
    """
    card = read_json(file)
    try:
        if not isinstance(card, dict):
            raise ConfigError(f"a card must be an object, got {shown(card)}")
        if card.get("features") != list(FEATURES):
            raise ConfigError(
                f"features, which the policy reads in observations, must be {', '.join(FEATURES)}, got "
                f"{shown(card.get('features'))}; a policy of another version must be trained anew"
            )
        missing = [name for name in ("network", "action", "system") if name not in card]
        if missing:
            raise ConfigError(f"a card needs a value for: {', '.join(missing)}")
        if not isinstance(card["network"], dict):
            raise ConfigError(f"network must be an object, got {shown(card['network'])}")
        layer = check_choice("action", card["action"], tuple(ACTIONS))
        return from_mapping(NetworkConfig, card["network"], "network"), layer, SystemConfig.from_dict(card["system"])
    except ValueError as error:
        raise ConfigError(f"{file} describes no policy: {error}") from error


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

    A bare name is always a shipped policy, whatever lies in the working directory; a folder there is ``./NAME``.

    Args:
        path: The name of a shipped policy; or a folder: a string with a separator in it, or any ``Path``.

    Raises:
        FileNotFoundError: There is no policy.
    """
    shipped = {card.parent.name: card.parent for card in sorted(SHIPPED.glob(f"*/{CARD}"))}
    names = f"the shipped policies are {', '.join(shipped) or 'none'}"
    if isinstance(path, str) and not {os.sep, os.altsep or os.sep} & set(path):
        if path not in shipped:
            raise FileNotFoundError(
                f"no policy is called {path!r}: {names}; a folder is named with a separator, as in ./{path}"
            )
        return shipped[path]
    folder = Path(path)
    if not all((folder / name).is_file() for name in (CARD, WEIGHTS)):
        raise FileNotFoundError(f"no policy in {folder}: a folder of one holds {CARD} and {WEIGHTS}; {names}")
    return folder.resolve()
