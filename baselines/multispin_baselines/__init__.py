"""Controllers built on the closed forms: the paper's schemes, robust ones, and the clairvoyant reference."""

from __future__ import annotations

from collections.abc import Callable

from multispin_baselines.knowledge import (
    Clairvoyant,
    Margins,
    PosteriorAcceptance,
    Robust,
    posterior_acceptance,
    tuned_margins,
)
from multispin_baselines.paper import (
    Algorithm1,
    Centralized,
    Fixed,
    Heterogeneous,
    Homogeneous,
    PointToPoint,
    UniformBandwidth,
)
from multispin_baselines.stochastic import LongRun, Stochastic
from multispin_env.evaluation.controller import Controller
from multispin_env.profiles import ModelPair, load_model_pair

__all__ = ["CONTROLLERS", "Controller", "Margins", "Robust", "make_controller", "posterior_acceptance"]

CONTROLLERS: dict[str, Callable[[ModelPair], Controller]] = {
    "p2p": lambda pair: PointToPoint(),
    "centralized": lambda pair: Centralized(pair.server_drafting_latency_s),
    "fixed": lambda pair: Fixed(),
    "uniform": lambda pair: UniformBandwidth(),
    "homogeneous": lambda pair: Homogeneous(),
    "algorithm1": lambda pair: Algorithm1(),
    "heterogeneous": lambda pair: Heterogeneous(),
    "posterior": lambda pair: PosteriorAcceptance(),
    "robust": lambda pair: Robust(tuned_margins(pair.name)),
    "stochastic": lambda pair: Stochastic(),
    "long-run": lambda pair: LongRun(),
    "clairvoyant": lambda pair: Clairvoyant(),
}


def make_controller(name: str, model_pair: str) -> Controller:
    """The controller of that name, for a model pair.

    Raises:
        ValueError: There is no such controller or pair.
    """
    if name not in CONTROLLERS:
        raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {name!r}")
    return CONTROLLERS[name](load_model_pair(model_pair))
