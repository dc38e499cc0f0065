"""The command ``learning``."""

from __future__ import annotations

from pathlib import Path

from multispin_env.evaluation.results import ResultsFolder
from multispin_train.learning.agents import RECIPES
from multispin_train.learning.runs import EVALUATION_EPISODES, EVALUATION_SEED, REFERENCE, LearningRow, learn


def learning(
    output: Path,
    *,
    agents: tuple[str, ...] = tuple(RECIPES),
    seeds: int = 3,
    scenario: str = "mobile",
    model_pair: str = "llama2",
) -> None:
    """Shows what standard agents learn.

    Trains agents of stable-baselines3 as a user would write them, one after the other on one core. Writes results.csv,
    an evaluation of the mean action a line, and learning.png. Run again with the same arguments to
    go on after an interruption.

    Args:
        output: Folder for the results.
        agents: Which recipes to train.
        seeds: Agents of each, from seed 0 on.
        scenario: The scenario.
        model_pair: The model pair.

    Raises:
        ValueError: There is no such recipe, or no seed.
    """
    for name in agents:
        if name not in RECIPES:
            raise ValueError(f"agents must be of {', '.join(RECIPES)}, got {name!r}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    world = {"scenario": scenario, "model_pair": model_pair}
    manifest = {
        **world,
        "recipes": {name: recipe.facts() for name, recipe in RECIPES.items()},
        "evaluation": [EVALUATION_SEED, EVALUATION_EPISODES],
    }
    folder = ResultsFolder(
        output,
        manifest,
        LearningRow,
        unique=("agent", "seed", "timesteps"),
        allowed={"agent": (REFERENCE, *RECIPES)},
    )
    learn(folder, agents, seeds, world, lambda line: print(line, flush=True))
