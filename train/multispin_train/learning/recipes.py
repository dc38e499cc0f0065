"""What a recipe of an agent is, and where to find each; libraries are imported when one of theirs is asked for."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from multispin_train.learning.evaluation import Observer

# The environment's arguments that say which world it is.
World: TypeAlias = Mapping[str, Any]
ENV_ID = "multispin_env/Heterogeneous-v0"
REWARD = "time-priced"

# The module of each recipe, and those trained by default.
_MODULES = {
    "mlp": "sb3",
    "equivariant": "sb3",
    "residual": "sb3",
    "sb3": "sb3",
    "rllib": "rllib",
    "cleanrl": "cleanrl",
}
RECIPES = tuple(_MODULES)
DEFAULT_RECIPES = ("mlp", "equivariant", "residual")


class Recipe(ABC):
    """An agent, as a user of its library would write it, and for how long it learns.

    Attributes:
        action: The environment's kind of action.
        total_timesteps: Steps to learn for, over all environments.
    """

    action: str
    total_timesteps: int

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """All that decides the agent, JSON-able."""

    @abstractmethod
    def learn(self, world: World, seed: int, observer: Observer) -> None:
        """Trains an agent, whose randomness all comes from the seed; shows it to the observer now and at the end."""


def load_recipes(names: Sequence[str], cleanrl_script: Path | None = None) -> dict[str, Recipe]:
    """Recipes by name.

    Args:
        names: Of ``RECIPES``.
        cleanrl_script: What ``cleanrl`` runs.

    Raises:
        ModuleNotFoundError: A recipe's library is not installed.
        OSError: The script cannot be read.
        ValueError: There is no such recipe, none is named, one twice, or there is no script for it.
    """
    if not names:
        raise ValueError(f"agents must be at least one of {', '.join(RECIPES)}")
    if len(set(names)) < len(names):
        raise ValueError(f"agents must be different ones, got {', '.join(names)}")
    for name in names:
        if name not in _MODULES:
            raise ValueError(f"agents must be of {', '.join(RECIPES)}, got {name!r}")
    recipes: dict[str, Recipe] = {}
    for name in names:
        module = importlib.import_module(f"multispin_train.learning.{_MODULES[name]}")
        recipes[name] = module.make_recipe(cleanrl_script if name == "cleanrl" else name)
    return recipes
