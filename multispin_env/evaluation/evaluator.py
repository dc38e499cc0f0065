"""Plays an agent on the reference seeds and says how good it is, beside the reference controllers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from multispin_env import SystemConfig, make_config
from multispin_env.evaluation.agents import Agent, as_player
from multispin_env.evaluation.reference import (
    FIRST_EVALUATION_SEED,
    REFERENCE_SEEDS,
    NoReferenceError,
    load_reference,
)
from multispin_env.evaluation.rollout import Episode, play
from multispin_env.evaluation.statistics import Estimate, interquartile_mean, paired_gain


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How an agent did.

    Attributes:
        name: The agent's name.
        scenario: The scenario's name.
        model_pair: The model pair's name or file.
        system: The system that was played.
        episodes: One a seed, in the seeds' order: tokens, seconds, goodput and fairness of each.
        goodput_tok_s: Interquartile mean over seeds of total tokens over total seconds, with its 95 % interval.
        gains: By controller, the interquartile mean over seeds of this agent's goodput over the controller's on the
            same seed, less 1, with its 95 % interval: .1 is a tenth more. None where there is nothing to compare with.
        without_reference: Why the package's reference controllers are not among the gains; None where they are.
    """

    name: str
    scenario: str
    model_pair: str
    system: SystemConfig = field(repr=False)
    episodes: tuple[Episode, ...] = field(repr=False)
    goodput_tok_s: Estimate
    gains: Mapping[str, Estimate] | None
    without_reference: str | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The episodes' seeds."""
        return tuple(episode.seed for episode in self.episodes)

    def gain_over(self, other: Evaluation) -> Estimate:
        """The paired gain over another evaluation, as in ``gains``.

        Raises:
            ValueError: The other one is of another system or other seeds.
        """
        if self.system != other.system or self.seeds != other.seeds:
            raise ValueError(f"{self.name} and {other.name} were not played on the same system and seeds")
        return paired_gain(_goodput(self.episodes), _goodput(other.episodes))

    def __str__(self) -> str:
        lines = [
            f"{self.name} in {self.scenario} / {self.model_pair}, {self.system.num_users} users, "
            f"{len(self.episodes)} seeds of {self.system.episode_rounds} rounds",
            f"{'goodput, tok/s':<30}{self.goodput_tok_s.text()}",
        ]
        for name, gain in (self.gains or {}).items():
            lines.append(f"{'% over ' + name:<30}{gain.text(scale=100.0, sign=True)}")
        lines.append("interquartile means over seeds [95 % bootstrap interval], gains paired by seed")
        if self.without_reference is not None:
            lines.append(f"without reference controllers: {self.without_reference}")
        return "\n".join(lines)


def evaluate(
    agent: Agent,
    *,
    scenario: str = "paper",
    model_pair: str | os.PathLike[str] = "llama2",
    config: SystemConfig | Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = REFERENCE_SEEDS,
    name: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    normalize: Callable[[Any], Any] | None = None,
    deterministic: bool = True,
    against: Agent | Evaluation | None = None,
) -> Evaluation:
    """Plays an agent on the reference seeds, all of them side by side in the vector environment.

    Nothing is trained, saved or seeded globally. To compare two learned agents, evaluate both and ask
    :meth:`Evaluation.gain_over`.

    Example:
        ``print(evaluate(PPO.load("mine"), scenario="mobile", model_pair="llama2"))``

    Args:
        agent: Who decides, one of

            - a controller: has ``act(view) -> Allocation``; ``reset(num_envs)``, ``privileged`` and
              ``transform_config`` where it needs them (:class:`~multispin_env.evaluation.Controller`);
            - anything with stable-baselines3's ``predict(observation, state, episode_start, deterministic)``; the
              state that it returns is handed back in the next round, so recurrent ones remember;
            - a callable without memory, from observations (num_envs, n), float32, to actions (num_envs, m) in
              [-1, 1]: a row an environment, also where there is only one.
        scenario: The scenario's name, as ``gym.make`` takes it.
        model_pair: The model pair's name or file, likewise.
        config: Changed fields of ``SystemConfig``, or a whole one.
        seeds: How many seeds, from ``FIRST_EVALUATION_SEED`` on, or the seeds themselves.
        name: What the agent is called; otherwise its ``name``, a function's name, or its class's.
        env_kwargs: Further arguments of the environment that the agent was trained in, such as
            ``{"action": "lengths"}``: they say what its actions mean. Controllers need none.
        normalize: Applied to the observations before the agent sees them, for instance ``normalize_obs`` of the
            ``VecNormalize`` that it was trained under.
        deterministic: Passed on to ``predict``.
        against: A controller to compare with on the same seeds, or an evaluation of one; it is among the gains under
            its name. For configs and seeds of which the package has no reference results.

    Returns:
        The episodes, the interquartile mean of their goodput, and the paired gains over the reference controllers
        whose per-seed results the package carries (64 seeds of every preset).

    Raises:
        TypeError: The agent can neither act, predict nor be called.
        ValueError: Scenario, pair, config, seeds or ``env_kwargs`` are wrong, or the agent's observations, actions or
            returned values do not fit the environment.
    """
    system = make_config(scenario, model_pair, config)
    chosen = evaluation_seeds(seeds)
    player = as_player(agent, name=name, env_kwargs=env_kwargs, normalize=normalize, deterministic=deterministic)
    episodes = tuple(play(player, system, chosen, timed=False))
    gains: dict[str, Estimate] = {}
    missing: str | None = None
    try:
        reference = load_reference(scenario, model_pair, system)
        index = {seed: number for number, seed in enumerate(reference.seeds)}
        if not index.keys() >= set(chosen):
            raise NoReferenceError(f"reference results are of the seeds {reference.seeds[0]} to {reference.seeds[-1]}")
        for name, values in reference.goodput_tok_s.items():
            gains[name] = paired_gain(_goodput(episodes), [values[index[seed]] for seed in chosen])
    except NoReferenceError as error:
        missing = str(error)
    evaluation = Evaluation(
        name=player.name,
        scenario=scenario,
        model_pair=os.fspath(model_pair),
        system=system,
        episodes=episodes,
        goodput_tok_s=interquartile_mean(_goodput(episodes)),
        gains=gains or None,
        without_reference=missing,
    )
    if against is None:
        return evaluation
    if not isinstance(against, Evaluation):
        against = evaluate(against, scenario=scenario, model_pair=model_pair, config=system, seeds=chosen)
    return replace(evaluation, gains={**gains, against.name: evaluation.gain_over(against)})


def evaluation_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The seeds that a number of them or the seeds themselves stand for.

    Raises:
        ValueError: There are none, one is negative, or one comes twice.
    """
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        chosen = tuple(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + int(seeds)))
    elif isinstance(seeds, bool | str) or not isinstance(seeds, Sequence | np.ndarray):
        raise ValueError(f"seeds must be a number of seeds or a sequence of them, got {seeds!r}")
    else:
        chosen = tuple(int(seed) for seed in seeds)
    if not chosen:
        raise ValueError(f"seeds must be at least 1, got {seeds!r}")
    if min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds must be different non-negative integers, got {list(chosen)}")
    return chosen


def _goodput(episodes: Sequence[Episode]) -> list[float]:
    return [episode.goodput_tok_s for episode in episodes]
