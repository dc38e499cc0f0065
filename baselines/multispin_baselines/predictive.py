"""The closed form told what uploads will find and what a request has shown, each with a tuned grain of salt."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from multispin_env import Allocation, ConfigError, RoundView
from multispin_env.config.validation import check_number, shown
from multispin_env.evaluation.controller import Controller
from multispin_env.files import read_json
from multispin_env.optimal import (
    RoundProblem,
    cautious_acceptance,
    cautious_spectral_efficiency,
    solve_heterogeneous,
)

_RULES = {
    "rate_margin_std": {"low": 0.0, "high": 100.0, "off": False, "integer": False},
    "posterior_weight": {"low": 0.0, "high": 1.0, "off": False, "integer": False},
}


class Caution(NamedTuple):
    """The two constants of the predictive controller.

    Attributes:
        rate_margin_std: Standard deviations that the rate counted on is below the expected one.
        posterior_weight: Weight of the request's posterior acceptance against the task's mean, 0 to 1.
    """

    rate_margin_std: float
    posterior_weight: float

    @classmethod
    def checked(cls, rate_margin_std: object, posterior_weight: object) -> Caution:
        """The constants, if they are numbers in their ranges.

        Raises:
            ConfigError: One is not.
        """
        values = {"rate_margin_std": rate_margin_std, "posterior_weight": posterior_weight}
        return cls(**{name: float(check_number(name, value, _RULES[name])) for name, value in values.items()})


class Predictive(Controller):
    """The heterogeneous optimum for the rates to come and the acceptance that requests have shown.

    The rate is the expectation of an upload's mean rate given the one observed, its age, the user's Doppler shift and
    the long-term rate, for the time in which uploads typically take place, less a margin: the slowest upload decides
    how long a round takes, so that a rate overestimated costs more than one underestimated. Where the rates are known
    there is nothing to predict. With the defaults of what it is told it plays what zeros of ``residual`` actions play.

    Args:
        caution: The margin, and how far the posterior acceptance is trusted.

    Raises:
        ConfigError: A constant is no number, or out of range.
    """

    name = "predictive"

    def __init__(self, caution: Caution) -> None:
        self.caution = Caution.checked(*caution)

    def act(self, view: RoundView) -> Allocation:
        """The optimum for what is expected."""
        margin_std, weight = self.caution
        problem = RoundProblem.from_view(
            view,
            acceptance_rate=cautious_acceptance(view, weight),
            spectral_efficiency=cautious_spectral_efficiency(view, margin_std),
        )
        return solve_heterogeneous(problem).allocation


@lru_cache
def tuned_caution(model_pair: str) -> Caution:
    """The constants that ``multispin tune`` found for a pair in ``mobile``; of a pair not tuned, llama2's."""
    tuned = read_tuned(Path(__file__).parent / "tuned.json")
    return tuned.get(model_pair, tuned["llama2"])


def read_tuned(path: Path) -> dict[str, Caution]:
    """The constants in a file that ``multispin tune`` wrote, by model pair; llama2's are among them.

    Raises:
        ConfigError: The file cannot be read or holds something else; the message names the file and the place.
    """
    held = read_json(path)
    tuned = held.get("tuned") if isinstance(held, dict) else None
    if not isinstance(tuned, dict) or "llama2" not in tuned:
        raise ConfigError(f"{path}: tuned must be an object of model pairs, llama2 among them, got {shown(tuned)}")
    found = {}
    for pair, entry in tuned.items():
        if not isinstance(entry, dict) or not {*Caution._fields} <= entry.keys():
            raise ConfigError(
                f"{path}: tuned.{shown(pair)} must be an object with {' and '.join(Caution._fields)}, "
                f"got {shown(entry)}"
            )
        try:
            found[pair] = Caution.checked(*(entry[name] for name in Caution._fields))
        except ConfigError as error:
            raise ConfigError(f"{path}: tuned.{shown(pair)}: {error}") from error
    return found
