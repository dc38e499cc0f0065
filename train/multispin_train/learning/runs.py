"""Trains the recipes, agent after agent, and keeps what evaluations say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.results import ResultsFolder
from multispin_train.learning.evaluation import (
    REFERENCE,
    Act,
    LearningRow,
    Observer,
    agent_goodput,
    make_row,
    reference_goodput,
)
from multispin_train.learning.recipes import Recipe, World
from multispin_train.learning.report import write_report


def learn(
    folder: ResultsFolder[LearningRow],
    recipes: Mapping[str, Recipe],
    seeds: int,
    world: World,
    say: Callable[[str], None],
) -> list[LearningRow]:
    """Trains what the folder lacks, an agent after the other; returns all evaluations.

    An agent's rows are written when it has learned to the end, so that one that was interrupted starts anew.

    Args:
        folder: Where the rows go, and after each agent the report.
        recipes: By name.
        seeds: Agents of each recipe, from seed 0 on.
        world: ``scenario`` and ``model_pair``, and ``config`` if it is another than the scenario's.
        say: Called with a line for each evaluation.
    """
    torch.set_num_threads(1)  # networks this small gain nothing from more, and times are of one core
    reference = reference_goodput(world)
    if not folder.rows():
        folder.append([make_row(REFERENCE, 0, 0, reference, reference, 0.0)])
    for name, recipe in recipes.items():
        for seed in range(seeds):
            if not any(row.agent == name and row.seed == seed for row in folder.rows()):
                folder.append(_train(name, recipe, seed, world, reference, say))
    rows = folder.rows()
    write_report(folder.path, rows)
    return rows


def _train(
    name: str,
    recipe: Recipe,
    seed: int,
    world: World,
    reference: FloatArray,
    say: Callable[[str], None],
) -> list[LearningRow]:
    rows: list[LearningRow] = []

    def evaluate(timesteps: int, act: Act, cpu_s: float) -> None:
        row = make_row(name, seed, timesteps, agent_goodput(act, recipe.action, world), reference, cpu_s)
        rows.append(row)
        say(
            f"{name}, seed {seed}: {timesteps} steps, {cpu_s:.0f} s, {row.goodput_tok_s:.1f} tok/s, "
            f"{row.gain:+.1%} of the {REFERENCE} controller"
        )

    recipe.learn(world, seed, Observer(recipe.total_timesteps, evaluate))
    return rows
