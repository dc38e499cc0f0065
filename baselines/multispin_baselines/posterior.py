"""The closed form told what requests have shown."""

from __future__ import annotations

from multispin_env import Allocation, RoundView
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, posterior_acceptance, solve_heterogeneous


class PosteriorAcceptance(Controller):
    """The heterogeneous optimum with the request's posterior mean acceptance."""

    name = "posterior"

    def act(self, view: RoundView) -> Allocation:
        """The optimum for what is observed and what the request has shown."""
        problem = RoundProblem.from_view(view, acceptance_rate=posterior_acceptance(view))
        return solve_heterogeneous(problem).allocation
