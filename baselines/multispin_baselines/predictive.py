"""The closed form told what can be counted on, with a tuned margin."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from multispin_env import Allocation, ConfigError, RoundView
from multispin_env.config.validation import check_number, shown
from multispin_env.evaluation.controller import Controller
from multispin_env.files import read_json
from multispin_env.optimal import forecast, solve_heterogeneous

_RULE = {"low": 0.0, "high": 100.0, "off": False, "integer": False}


class Predictive(Controller):
    """The heterogeneous optimum of the round as it is to be expected.

    That is :func:`~multispin_env.optimal.forecast`: the rates that uploads will find, less a margin, the acceptance
    that drafts will find, and what a token of each request is worth in the long run. With the default margin it plays
    what zeros of ``residual`` actions play.

    Args:
        rate_margin_std: Standard deviations that the rate counted on is below the expected one, 0 to 100.

    Raises:
        ConfigError: It is no number, or out of range.
    """

    name = "predictive"

    def __init__(self, rate_margin_std: float) -> None:
        self.rate_margin_std = float(check_number("rate_margin_std", rate_margin_std, _RULE))

    def act(self, view: RoundView) -> Allocation:
        """The optimum for what is expected."""
        return solve_heterogeneous(forecast(view, self.rate_margin_std)).allocation


@lru_cache
def tuned_margin_std(model_pair: str) -> float:
    """The margin that ``multispin tune`` found for a pair in ``mobile``; of a pair not tuned, llama2's."""
    tuned = read_tuned(Path(__file__).parent / "tuned.json")
    return tuned.get(model_pair, tuned["llama2"])


def read_tuned(path: Path) -> dict[str, float]:
    """The margins in a file that ``multispin tune`` wrote, by model pair; llama2's is among them.

    Raises:
        ConfigError: The file cannot be read or holds something else; the message names the file and the place.
    """
    held = read_json(path)
    tuned = held.get("tuned") if isinstance(held, dict) else None
    if not isinstance(tuned, dict) or "llama2" not in tuned:
        raise ConfigError(f"{path}: tuned must be an object of model pairs, llama2 among them, got {shown(tuned)}")
    found = {}
    for pair, entry in tuned.items():
        if not isinstance(entry, dict) or "rate_margin_std" not in entry:
            raise ConfigError(f"{path}: tuned.{shown(pair)} must be an object with rate_margin_std, got {shown(entry)}")
        try:
            found[pair] = Predictive(entry["rate_margin_std"]).rate_margin_std
        except ConfigError as error:
            raise ConfigError(f"{path}: tuned.{shown(pair)}: {error}") from error
    return found
