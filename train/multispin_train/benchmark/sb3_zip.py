"""Models of stable-baselines3 and sb3-contrib from their zip files, which are loaded only where they are trusted.

Such a zip holds the weights, which are read as tensors only, and in its file ``data`` the model's other attributes:
plain ones as JSON, the rest (spaces, classes, schedules) pickled. Unpickling runs whatever the pickle names. Which
algorithm a zip is of is read from the JSON alone, so nothing runs before it is trusted.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Where the algorithms are that act in a Box, by name.
ALGORITHMS = {
    **dict.fromkeys(("A2C", "DDPG", "PPO", "SAC", "TD3"), "stable_baselines3"),
    **dict.fromkeys(("ARS", "CrossQ", "RecurrentPPO", "TQC", "TRPO"), "sb3_contrib"),
}

# The first whose attributes a model all has is its algorithm. (DDPG is a TD3, with the same policy.)
_MARKS = (
    ("TQC", {"top_quantiles_to_drop_per_net"}),
    ("CrossQ", {"target_entropy", "policy_delay"}),
    ("SAC", {"target_entropy"}),
    ("TD3", {"target_policy_noise"}),
    ("ARS", {"n_delta"}),
    ("TRPO", {"cg_max_steps"}),
    ("PPO", {"clip_range"}),
    ("A2C", {"gae_lambda"}),
)

# What only training needs, and what may not load elsewhere or be large.
_NOT_NEEDED: dict[str, Any] = {
    "learning_rate": 0.0,
    "lr_schedule": None,
    "clip_range": 0.0,
    "clip_range_vf": None,
    "buffer_size": 1,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
}


def split_algorithm(text: str) -> tuple[str | None, Path]:
    """The algorithm that ``PPO:FILE.zip`` names, or None for a file alone, and the file.

    Raises:
        ValueError: There is no such algorithm.
    """
    prefix = re.match(r"(\w\w+):", text)
    if prefix is None:
        return None, Path(text)
    if prefix[1] not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(sorted(ALGORITHMS))}, got {prefix[1]!r} in {text!r}")
    return prefix[1], Path(text[prefix.end() :])


def find_algorithm(path: Path) -> str:
    """The algorithm of a zip, by the attributes that it lists; runs nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no model of stable-baselines3, or of an algorithm that is not known here.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no policy in {path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            attributes = json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a model that stable-baselines3 saved: {error}") from error
    if isinstance(attributes, dict):
        for name, marks in _MARKS:
            if marks <= attributes.keys():
                policy = attributes.get("policy_class")
                described = json.dumps(policy) if name == "PPO" and isinstance(policy, dict) else ""
                return "RecurrentPPO" if re.search(r"recurrent|lstm", described, re.IGNORECASE) else name
    raise ValueError(
        f"cannot tell which algorithm {path} is of; say it as in PPO:{path}, one of {', '.join(sorted(ALGORITHMS))}"
    )


def require_trust(path: Path, trust: bool) -> None:
    """Refuses a file that is not trusted.

    Raises:
        ValueError: It is not.
    """
    if not trust:
        raise ValueError(
            f"{path} holds pickled Python objects, and loading it runs whatever code they name; if you trust whoever "
            "made it, give --trust (trust=True from Python)"
        )


def load_model(path: Path, algorithm: str, trust: bool) -> Any:
    """The model of a zip, able to ``predict``.

    Args:
        path: The file that ``model.save`` wrote.
        algorithm: Of ``ALGORITHMS``.
        trust: Whether pickled objects in it may run code.

    Raises:
        ValueError: The file is not trusted, or no such model.
    """
    require_trust(path, trust)
    factory = getattr(importlib.import_module(ALGORITHMS[algorithm]), algorithm)
    try:
        return factory.load(path, device="cpu", custom_objects=_NOT_NEEDED)
    except Exception as error:  # what is unpickled may raise anything
        raise ValueError(f"{path} does not load as a {algorithm}: {error}") from error


def load_normalize(path: Path, trust: bool) -> Callable[[Any], Any]:
    """What a ``VecNormalize`` whose statistics were saved does to observations.

    Args:
        path: The file that ``VecNormalize.save`` wrote.
        trust: Whether pickled objects in it may run code.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not trusted, or holds something else.
    """
    from stable_baselines3.common.vec_env import VecNormalize  # here, as it needs PyTorch

    if not path.is_file():
        raise FileNotFoundError(f"no statistics in {path}: there is no such file")
    require_trust(path, trust)
    try:
        with path.open("rb") as file:
            statistics = pickle.load(file)
    except Exception as error:  # likewise
        raise ValueError(f"{path} does not hold what VecNormalize.save writes: {error}") from error
    if not isinstance(statistics, VecNormalize):
        raise ValueError(f"{path} must hold a VecNormalize, got {type(statistics).__name__}")
    normalize: Callable[[Any], Any] = statistics.normalize_obs
    return normalize
