"""The command ``learning``."""

from __future__ import annotations

from pathlib import Path

from multispin_env import make_config
from multispin_env.evaluation.results import ResultsFolder
from multispin_train.learning.evaluation import (
    EVALUATION_EPISODES,
    EVALUATION_SEED,
    EVALUATIONS,
    REFERENCE,
    LearningRow,
)
from multispin_train.learning.recipes import DEFAULT_RECIPES, RECIPES, REWARD, load_recipes
from multispin_train.learning.runs import learn
from multispin_train.options import ModelPair, Scenario, check_count


def learning(
    output: Path,
    *,
    agents: tuple[str, ...] = DEFAULT_RECIPES,
    seeds: int = 3,
    scenario: Scenario = "mobile",
    model_pair: ModelPair = "llama2",
    cleanrl_script: Path | None = None,
) -> None:
    """Shows what standard agents learn.

    Trains agents as a user would write them, from nothing but steps and rewards: `mlp` (README's lines), `equivariant`
    and `residual` with stable-baselines3; `sb3`, `rllib` (needs ray[rllib]) and `cleanrl` (needs CleanRL's script) with
    their library's defaults. Writes results.csv (the mean action, evaluated ten times on the way; an agent's rows when
    it is done), report.md and learning.png. Run again with the same arguments to go on after an interruption; other
    agents and more seeds join those there are.

    Example: multispin learning --output runs/learning

    Args:
        output: Folder for the results.
        agents: Which recipes to train.
        seeds: Agents of each, from seed 0 on.
        scenario: The scenario.
        model_pair: The model pair.
        cleanrl_script: A copy of CleanRL's ppo_continuous_action.py.

    Raises:
        ModuleNotFoundError: A recipe's library is not installed.
        OSError: The script cannot be read.
        ValueError: There is no such recipe, scenario or pair, no seed, or no script for `cleanrl`.
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    recipes = load_recipes(agents, cleanrl_script)
    manifest = {
        "system": make_config(scenario, model_pair).to_dict(),
        "reward": REWARD,
        "evaluation": {"seed": EVALUATION_SEED, "episodes": EVALUATION_EPISODES, "times": EVALUATIONS},
        "agents": {name: recipe.facts() for name, recipe in recipes.items()},
    }
    folder = ResultsFolder(
        output,
        manifest,
        LearningRow,
        unique=("agent", "seed", "timesteps"),
        allowed={"agent": (REFERENCE, *RECIPES)},
        grows="agents",
        key="agent",
    )
    learn(
        folder, recipes, seeds, {"scenario": scenario, "model_pair": model_pair}, lambda line: print(line, flush=True)
    )
    print(f"report: {folder.path / 'report.md'}")
