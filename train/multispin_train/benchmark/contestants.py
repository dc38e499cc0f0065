"""Who plays in a benchmark: controllers by name, agents of modules, learned policies and stable-baselines3's zips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multispin_baselines import make_controller

from multispin_env import SystemConfig
from multispin_env.evaluation.agents import Player, agent_name, as_player
from multispin_env.evaluation.importing import import_agent, module_file
from multispin_train.benchmark import sb3_zip


@dataclass(frozen=True)
class Contestant:
    """One who plays.

    Attributes:
        name: In tables and files.
        identity: What it is: two of the same name and another identity are not the same.
        make: Makes it, new, to play a batch of seeds.
    """

    name: str
    identity: str
    make: Callable[[], Player]


@dataclass(frozen=True, kw_only=True)
class ObservationSetting:
    """What stands between the environment and agents that see its observations.

    Attributes:
        system: The system that is played.
        env_kwargs: Further arguments of the environment that they were trained in.
        vec_normalize: The file of the statistics of their ``VecNormalize``, or None.
        trust: Whether pickled objects in files may run code.
    """

    system: SystemConfig
    env_kwargs: Mapping[str, Any]
    vec_normalize: Path | None
    trust: bool

    def player(self, agent: Any, name: str, *, normalized: bool) -> Player:
        """The agent as a player; ``normalized`` if the statistics are its own.

        Raises:
            ValueError: Its observations or actions do not fit the environment.
        """
        normalize = None
        if normalized and self.vec_normalize is not None:
            normalize = sb3_zip.load_normalize(self.vec_normalize, self.trust)
        player = as_player(agent, name=name, env_kwargs=self.env_kwargs, normalize=normalize)
        # Refuses whoever cannot play here before anybody does.
        player.make_env(player.transform_config(self.system), 1)
        return player


def find_controller(text: str, model_pair: str, setting: ObservationSetting) -> Contestant:
    """The controller that a name of ``CONTROLLERS`` or ``module:Class`` means.

    Raises:
        ValueError: It means none.
    """
    if ":" not in text:
        controller = make_controller(text, model_pair)
        identity = f"{type(controller).__module__}:{type(controller).__qualname__}"
        return Contestant(text, identity, lambda: as_player(make_controller(text, model_pair), name=text))
    agent = import_agent(text)
    name = agent_name(agent)
    setting.player(agent, name, normalized=False)
    file = module_file(text)
    # The file of the module: what that imports in turn is not looked at.
    identity = f"{text} {_digest(Path(file)) if file else ''} {_canonical(setting.env_kwargs)}"
    return Contestant(name, identity, lambda: setting.player(import_agent(text), name, normalized=False))


def find_policy(text: str, setting: ObservationSetting) -> Contestant:
    """The policy that a shipped name, a folder, or a zip of stable-baselines3 means.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It cannot be read, or is a zip that is not trusted.
    """
    if text.endswith(".zip"):
        algorithm, path = sb3_zip.split_algorithm(text)
        algorithm = sb3_zip.find_algorithm(path) if algorithm is None else algorithm
        model = sb3_zip.load_model(path, algorithm, setting.trust)
        files = [path] if setting.vec_normalize is None else [path, setting.vec_normalize]
        player = setting.player(model, path.stem, normalized=True)
        identity = f"{algorithm} {' '.join(map(_digest, files))} {_canonical(setting.env_kwargs)}"
        return Contestant(path.stem, identity, lambda: player)
    from multispin_agents.policy import LearnedController, fingerprint  # here, as it needs PyTorch

    policy = LearnedController.load(text)
    return Contestant(policy.name, fingerprint(text), lambda: as_player(policy))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)
