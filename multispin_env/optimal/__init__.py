"""Closed forms and certified solvers for one round's joint allocation of draft lengths and bandwidth."""

from multispin_env.optimal.acceptance import posterior_acceptance, relative_rounds
from multispin_env.optimal.algorithm1 import solve_algorithm1
from multispin_env.optimal.average import AverageRound, average_round
from multispin_env.optimal.bandwidth import equalize_bandwidth
from multispin_env.optimal.fixed_bandwidth import solve_fixed_bandwidth
from multispin_env.optimal.forecast import forecast
from multispin_env.optimal.heterogeneous import solve_heterogeneous
from multispin_env.optimal.homogeneous import optimal_draft_length, solve_homogeneous
from multispin_env.optimal.prediction import RatePredictor, typical_delay_s
from multispin_env.optimal.problem import RoundProblem, Solution, expected_goodput
from multispin_env.optimal.upload_rate import UploadRate, cautious_spectral_efficiency, typical_upload_rate, upload_rate

__all__ = [
    "AverageRound",
    "RatePredictor",
    "RoundProblem",
    "Solution",
    "UploadRate",
    "average_round",
    "cautious_spectral_efficiency",
    "equalize_bandwidth",
    "expected_goodput",
    "forecast",
    "optimal_draft_length",
    "posterior_acceptance",
    "relative_rounds",
    "solve_algorithm1",
    "solve_fixed_bandwidth",
    "solve_heterogeneous",
    "solve_homogeneous",
    "typical_delay_s",
    "typical_upload_rate",
    "upload_rate",
]
