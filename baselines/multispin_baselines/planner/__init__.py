"""The gold standard under the protocol's information: plans that weigh what is not known by sampled futures."""

from multispin_baselines.planner.controllers import Course, LongRun, Stochastic, own_course

__all__ = ["Course", "LongRun", "Stochastic", "own_course"]
