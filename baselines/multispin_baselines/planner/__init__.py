"""The gold standard under the protocol's information: plans that weigh what is not known by sampled futures."""

from multispin_baselines.planner.controllers import LongRun, Stochastic

__all__ = ["LongRun", "Stochastic"]
