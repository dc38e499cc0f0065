"""Controllers that differ in what they believe: posterior acceptance, margins against aged knowledge, and the truth."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multispin_baselines.aged import rate_quantile
from multispin_baselines.beliefs import acceptance_belief
from multispin_env import Allocation, ConfigError, RoundView
from multispin_env.config.validation import check_number, shown
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray, expected_tokens, goodput
from multispin_env.evaluation.controller import Controller
from multispin_env.files import read_json
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_heterogeneous


def posterior_acceptance(view: RoundView) -> FloatArray:
    """Mean acceptance of each user's request, now, given what it has had accepted, (lanes, users)."""
    return acceptance_belief(view).mean


class PosteriorAcceptance(Controller):
    """The heterogeneous optimum with the request's posterior mean acceptance."""

    name = "posterior"

    def act(self, view: RoundView) -> Allocation:
        """The optimum for what is observed and what the request has shown."""
        problem = RoundProblem.from_view(view, acceptance_rate=posterior_acceptance(view))
        return solve_heterogeneous(problem).allocation


class Margins(NamedTuple):
    """The two numbers of the robust controller.

    Attributes:
        rate_quantile: Quantile of the rate at upload, given the rate now, that is counted on; 0.5 is the median.
        posterior_weight: Weight of the request's posterior acceptance against the task's mean, 0 to 1.
    """

    rate_quantile: float
    posterior_weight: float


@lru_cache
def tuned_margins(model_pair: str) -> Margins:
    """The margins that ``multispin tune`` found for a pair in ``mobile``; of a pair not tuned, llama2's."""
    tuned = read_margins(Path(__file__).parent / "margins.json")
    return tuned.get(model_pair, tuned["llama2"])


def read_margins(path: Path) -> dict[str, Margins]:
    """The margins in a file that ``multispin tune`` wrote, by model pair; llama2's are among them.

    Raises:
        ConfigError: The file cannot be read or holds something else; the message names the file and the place.
    """
    held = read_json(path)
    tuned = held.get("margins") if isinstance(held, dict) else None
    if not isinstance(tuned, dict) or "llama2" not in tuned:
        raise ConfigError(f"{path}: margins must be an object of model pairs, llama2 among them, got {shown(tuned)}")
    margins = {}
    for pair, entry in tuned.items():
        if not isinstance(entry, dict) or not {*Margins._fields} <= entry.keys():
            raise ConfigError(
                f"{path}: margins.{shown(pair)} must be an object with {' and '.join(Margins._fields)}, "
                f"got {shown(entry)}"
            )
        try:
            margins[pair] = Robust(Margins(**{name: entry[name] for name in Margins._fields})).margins
        except ConfigError as error:
            raise ConfigError(f"{path}: margins.{shown(pair)}: {error}") from error
    return margins


# A quantile of 0 or 1 of a rate is 0 or infinite.
_QUANTILE = {"low": 1e-6, "high": 1.0 - 1e-6, "off": False, "integer": False}
_WEIGHT = {"low": 0.0, "high": 1.0, "off": False, "integer": False}


class Robust(Controller):
    """The heterogeneous optimum with two margins: a low quantile of the rate to come, and tempered acceptance.

    The rate at upload is the rate now after ageing for the drafting time that the plain optimum would choose.

    Raises:
        ConfigError: A margin is no number, or out of range.
    """

    name = "robust"

    def __init__(self, margins: Margins) -> None:
        self.margins = Margins(
            float(check_number("rate_quantile", margins.rate_quantile, _QUANTILE)),
            float(check_number("posterior_weight", margins.posterior_weight, _WEIGHT)),
        )

    def act(self, view: RoundView) -> Allocation:
        """The optimum for the cautious estimates."""
        weight = self.margins.posterior_weight
        acceptance = (1.0 - weight) * view.task_acceptance_mean + weight * posterior_acceptance(view)
        hopeful = solve_heterogeneous(RoundProblem.from_view(view, acceptance_rate=acceptance))
        if view.config.channel.fading_correlation_time_s == 0.0:
            return hopeful.allocation
        delay_s = hopeful.allocation.draft_length * view.drafting_latency_s
        cautious = RoundProblem.from_view(
            view,
            acceptance_rate=acceptance,
            spectral_efficiency=rate_quantile(view, delay_s, self.margins.rate_quantile),
        )
        return solve_heterogeneous(cautious).allocation


class Clairvoyant(Controller):
    """The heterogeneous optimum for the true rates at upload and the true acceptance.

    Where rates depend on when an upload begins, and so on the lengths, it alternates between the two a few times and
    keeps the best: a very good plan for the round, and an upper reference no real controller can have. It plans no
    further than the round.
    """

    name = "clairvoyant"
    privileged = True
    num_alternations = 4

    def act(self, view: RoundView) -> Allocation:
        """The best of a few alternations."""
        if not isinstance(view, TrueView):
            raise TypeError(f"{self.name} needs a TrueView, got {type(view).__name__}")
        alternations = 1 if view.config.channel.fading_correlation_time_s == 0.0 else self.num_alternations
        problem = RoundProblem.from_view(view, acceptance_rate=view.acceptance_rate)
        lengths = solve_heterogeneous(problem).allocation.draft_length
        best_value = np.full(len(lengths), -np.inf)
        best_lengths, best_shares = lengths, np.empty_like(view.acceptance_rate)
        for step in range(alternations):
            if step:
                lengths = solve_heterogeneous(problem).allocation.draft_length
            # For its own lengths the true rates are known, and the shares that equalise them.
            problem = RoundProblem.from_view(
                view,
                acceptance_rate=view.acceptance_rate,
                spectral_efficiency=view.spectral_efficiency_at_upload(lengths),
            )
            latency_s, shares = equalize_bandwidth(problem, lengths)
            value = goodput(
                expected_tokens(view.acceptance_rate, lengths), latency_s, view.config.verification_latency_s
            )
            better = (value > best_value)[:, np.newaxis]
            best_value = np.maximum(value, best_value)
            best_lengths, best_shares = np.where(better, lengths, best_lengths), np.where(better, shares, best_shares)
        return Allocation(best_lengths, best_shares)
