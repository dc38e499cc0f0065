"""Acceptance that drafts may expect, from what a request's drafts so far have shown."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray, beta_parameters
from multispin_env.core.view import RoundView

# Ours: `multispin tune` finds .25 to .75 best in `mobile` for the paper's pairs (docs/tune).
_POSTERIOR_WEIGHT = 0.5


def posterior_acceptance(view: RoundView) -> FloatArray:
    """Mean acceptance of each user's request, now, given how its drafts have fared, (num_envs, num_users).

    Where acceptance drifts, drafts tell less of now than of then. It is the best linear estimate from two numbers:
    drafts accepted in the last round, and in all rounds before it, in a text of about as many tokens as drafts were
    decided. Without drift it is the mean of the conjugate posterior.
    """
    prior_mean, std = view.task_acceptance_mean, view.task_acceptance_std
    known = std == 0.0
    alpha, beta = beta_parameters(prior_mean, np.where(known, 1.0, std))
    # Variance of an outcome given the rate, over that of the rate. A stand-in where the rate is known.
    prior = np.where(known, 1.0, alpha + beta)
    running = view.request_tested > 0
    last_accepted = np.where(running, view.last_accepted, 0)
    last_tested = np.where(running, view.last_accepted + (view.last_accepted < view.last_draft_length), 0)
    older_accepted, older_tested = view.request_accepted - last_accepted, view.request_tested - last_tested

    # Correlations between the rate now, that of the last round, and the mean rate of the text before.
    share, tokens = view.config.requests.drift_share, view.config.requests.drift_correlation_tokens
    since, before = (view.last_accepted + 1.0) / tokens, np.maximum(older_tested, 1) / tokens
    faded, reach = np.exp(-since), -np.expm1(-before) / before
    now_last = 1.0 - share + share * faded
    now_older = 1.0 - share + share * faded * reach
    last_older = 1.0 - share + share * reach
    within_older = 1.0 - share + share * 2.0 * (1.0 - reach) / before

    # The normal equations of the estimate, for the weight of a single draft.
    last, older = last_tested + prior, within_older * older_tested + prior
    determinant = last * older - np.square(last_older) * last_tested * older_tested
    last_weight = (now_last * older - now_older * last_older * older_tested) / determinant
    older_weight = (now_older * last - now_last * last_older * last_tested) / determinant
    mean = (
        prior_mean
        + last_weight * (last_accepted - last_tested * prior_mean)
        + older_weight * (older_accepted - older_tested * prior_mean)
    )
    return np.where(known, prior_mean, mean)


def cautious_acceptance(view: RoundView, posterior_weight: float = _POSTERIOR_WEIGHT) -> FloatArray:
    """Acceptance to count on, (num_envs, num_users): between the task's and what the request has shown.

    A draft decides how long all others wait, so that an acceptance overestimated costs more than one underestimated.
    Where tasks do not spread it is the task's, to the last bit.

    Args:
        view: The round.
        posterior_weight: Weight of what the request has shown, 0 to 1.
    """
    prior = view.task_acceptance_mean
    return prior + posterior_weight * (posterior_acceptance(view) - prior)
