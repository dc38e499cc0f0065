"""Closed forms and certified solvers for one round's joint allocation of draft lengths and bandwidth."""

from multispin_env.optimal.algorithm1 import solve_algorithm1
from multispin_env.optimal.average import AverageRound, average_round
from multispin_env.optimal.bandwidth import equalize_bandwidth
from multispin_env.optimal.heterogeneous import solve_heterogeneous
from multispin_env.optimal.homogeneous import optimal_draft_length, solve_homogeneous
from multispin_env.optimal.prediction import RatePredictor, predicted_spectral_efficiency, typical_delay_s
from multispin_env.optimal.problem import RoundProblem, Solution

__all__ = [
    "AverageRound",
    "RatePredictor",
    "RoundProblem",
    "Solution",
    "average_round",
    "equalize_bandwidth",
    "optimal_draft_length",
    "predicted_spectral_efficiency",
    "solve_algorithm1",
    "solve_heterogeneous",
    "solve_homogeneous",
    "typical_delay_s",
]
