"""Controllers built on the closed forms: the paper's schemes, those that predict, and the clairvoyant reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from multispin_baselines.clairvoyant import Clairvoyant
from multispin_baselines.paper import (
    Algorithm1,
    Centralized,
    Fixed,
    Heterogeneous,
    Homogeneous,
    PointToPoint,
    UniformBandwidth,
)
from multispin_baselines.planner import LongRun, Stochastic
from multispin_baselines.posterior import PosteriorAcceptance
from multispin_baselines.predictive import Predictive, tuned_margin_std
from multispin_env.evaluation.controller import Controller
from multispin_env.profiles import ModelPair, load_model_pair
from multispin_env.registration import check_new_name

__all__ = [
    "CONTROLLERS",
    "REFERENCE_CONTROLLERS",
    "Controller",
    "ControllerFactory",
    "Predictive",
    "make_controller",
    "register_controller",
]

ControllerFactory: TypeAlias = Callable[[ModelPair], Controller]

# By name, in the order of tables; register_controller adds to them.
CONTROLLERS: dict[str, ControllerFactory] = {
    "p2p": lambda pair: PointToPoint(),
    "centralized": lambda pair: Centralized(pair.server_drafting_latency_s),
    "fixed": lambda pair: Fixed(),
    "uniform": lambda pair: UniformBandwidth(),
    "homogeneous": lambda pair: Homogeneous(),
    "algorithm1": lambda pair: Algorithm1(),
    "heterogeneous": lambda pair: Heterogeneous(),
    "posterior": lambda pair: PosteriorAcceptance(),
    "predictive": lambda pair: Predictive(tuned_margin_std(pair.name)),
    "stochastic": lambda pair: Stochastic(),
    "long-run": lambda pair: LongRun(),
    "clairvoyant": lambda pair: Clairvoyant(),
}


# Those that every evaluation is compared with. Algorithm 1 is the heterogeneous optimum, many times slower, and the
# planners take longer than all these together: they are asked for by name.
REFERENCE_CONTROLLERS = tuple(name for name in CONTROLLERS if name not in ("algorithm1", "stochastic", "long-run"))


def register_controller(name: str, factory: ControllerFactory) -> None:
    """Makes a controller known by a name, to :func:`make_controller` and the commands of the same process.

    Args:
        name: Letters, digits and ``_.+-``, not taken by another one.
        factory: Makes a new one for a model pair.

    Raises:
        ValueError: The name is taken or has other characters.
        TypeError: The factory cannot be called.
    """
    if not callable(factory):
        raise TypeError(f"factory must be callable: model pair -> controller, got {factory!r}")
    CONTROLLERS[check_new_name("controller", name, factory, CONTROLLERS)] = factory


def make_controller(name: str, model_pair: str) -> Controller:
    """The controller of that name, for a model pair.

    Raises:
        ValueError: There is no such controller or pair.
    """
    if name not in CONTROLLERS:
        raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {name!r}")
    return CONTROLLERS[name](load_model_pair(model_pair))
