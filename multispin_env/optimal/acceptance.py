"""Acceptance that drafts may expect, from what a request's drafts so far have shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import FloatArray, beta_parameters, expected_tokens
from multispin_env.core.view import RoundView


def posterior_acceptance(view: RoundView, tokens_ahead: FloatArray | float = 0.0) -> FloatArray:
    """Mean acceptance of each user's request, given how its drafts have fared, (..., num_envs, num_users).

    Where acceptance drifts, drafts tell less of a place the further it is from theirs. It is the best linear estimate
    from two numbers: drafts accepted in the last round, and in all rounds before it, in a text of about as many tokens
    as drafts were decided. Without drift it is the mean of the conjugate posterior.

    Args:
        view: The round.
        tokens_ahead: Of which place: so many tokens from where the request is; with infinity it is what the whole of
            the request has in common. Broadcast against (num_envs, num_users).
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

    # Correlations between the rate at the place, that of the last round, and the mean rate of the text before.
    share, tokens = view.config.requests.drift_share, view.config.requests.drift_correlation_tokens
    since, before = (view.last_accepted + 1.0 + tokens_ahead) / tokens, np.maximum(older_tested, 1) / tokens
    faded, reach = np.exp(-since), -np.expm1(-before) / before
    there_last = 1.0 - share + share * faded
    there_older = 1.0 - share + share * faded * reach
    last_older = 1.0 - share + share * reach
    within_older = 1.0 - share + share * 2.0 * (1.0 - reach) / before

    # The normal equations of the estimate, for the weight of a single draft.
    last, older = last_tested + prior, within_older * older_tested + prior
    determinant = last * older - np.square(last_older) * last_tested * older_tested
    last_weight = (there_last * older - there_older * last_older * older_tested) / determinant
    older_weight = (there_older * last - there_last * last_older * last_tested) / determinant
    mean = (
        prior_mean
        + last_weight * (last_accepted - last_tested * prior_mean)
        + older_weight * (older_accepted - older_tested * prior_mean)
    )
    return np.where(known, prior_mean, mean)


def relative_rounds(mean: FloatArray, acceptance: FloatArray, draft_length: ArrayLike) -> FloatArray:
    """Rounds that a text takes, over those of one with its task's mean acceptance: ``E[N | mean] / E[N | acceptance]``.

    A text's tokens come in any case; what drafts save is rounds, and a token of a hard text saves more of them.

    Args:
        mean: Mean acceptance of the task.
        acceptance: That of the text.
        draft_length: Of the rounds that are counted.
    """
    return expected_tokens(mean, draft_length) / expected_tokens(acceptance, draft_length)
