"""What a request's drafts so far tell of its acceptance, and the optimum for that."""

from __future__ import annotations

from multispin_baselines.beliefs import acceptance_belief
from multispin_env import Allocation, RoundView
from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, solve_heterogeneous


def posterior_acceptance(view: RoundView) -> FloatArray:
    """Mean acceptance of each user's request, now, given what it has had accepted, (num_envs, num_users)."""
    return acceptance_belief(view).mean


class PosteriorAcceptance(Controller):
    """The heterogeneous optimum with the request's posterior mean acceptance."""

    name = "posterior"

    def act(self, view: RoundView) -> Allocation:
        """The optimum for what is observed and what the request has shown."""
        problem = RoundProblem.from_view(view, acceptance_rate=posterior_acceptance(view))
        return solve_heterogeneous(problem).allocation
