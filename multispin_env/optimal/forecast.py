"""The round as it is to be expected: what a closed form is told where not everything is known."""

from __future__ import annotations

import numpy as np

from multispin_env.core.view import RoundView
from multispin_env.optimal.acceptance import posterior_acceptance, relative_rounds
from multispin_env.optimal.average import average_round
from multispin_env.optimal.problem import RoundProblem
from multispin_env.optimal.upload_rate import MARGIN_STD, cautious_spectral_efficiency


def forecast(view: RoundView, margin_std: float = MARGIN_STD) -> RoundProblem:
    """The problem of a round, with what can be counted on in place of what is not known.

    - The rates are those of :func:`~multispin_env.optimal.upload_rate.cautious_spectral_efficiency`.
    - The acceptance is that expected in the middle of a typical draft, given what the request has shown.
    - A token weighs as many rounds as it takes in texts as hard as the request seems to be: hard requests are there
      for more rounds, and to bring them forward saves more of these.

    Where rates are exact and acceptance does not spread, it is what is observed and every weight is 1, to the last bit.

    Args:
        view: The round.
        margin_std: The margin, in standard deviations of the rate.
    """
    length = average_round(view.config).draft_length
    tokens_ahead = np.array([0.5 * length, np.inf])[:, np.newaxis, np.newaxis]
    drafted, whole = posterior_acceptance(view, tokens_ahead)
    return RoundProblem.from_view(
        view,
        spectral_efficiency=cautious_spectral_efficiency(view, margin_std),
        acceptance_rate=drafted,
        weight=relative_rounds(view.task_acceptance_mean, whole, length),
    )
