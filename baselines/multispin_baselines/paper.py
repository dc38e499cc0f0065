"""The schemes that the paper compares (arXiv 2606.04581, section VI)."""

from __future__ import annotations

import numpy as np

from multispin_env import Allocation, RoundView, SystemConfig
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, solve_algorithm1, solve_heterogeneous, solve_homogeneous


class Fixed(Controller):
    """Fixed BW&L: eight tokens and an equal share for everybody."""

    name = "fixed"
    draft_length = 8

    def act(self, view: RoundView) -> Allocation:
        """The same in every round."""
        shape = view.drafting_latency_s.shape
        length = min(self.draft_length, view.config.max_draft_length)
        return Allocation(np.full(shape, length), np.full(shape, 1.0 / shape[-1]))


class UniformBandwidth(Controller):
    """Uni-BW: an equal share for everybody, and the best lengths for it."""

    name = "uniform"

    def act(self, view: RoundView) -> Allocation:
        """Exact optimum over the lengths for equal shares."""
        shares = np.full_like(view.drafting_latency_s, 1.0 / view.drafting_latency_s.shape[-1])
        return Allocation(best_lengths(RoundProblem.from_view(view), shares), shares)


def best_lengths(problem: RoundProblem, shares: FloatArray) -> IntArray:
    """The lengths that maximise goodput for given shares.

    With the shares given, user k takes ``c_k = T_k + q_k / share_k`` per token, and a deadline phi admits
    ``floor(phi / c_k)`` of them; only the instants at which some user's next token is ready can be the best deadline.
    Sorting these and summing what each token adds, ``alpha^l``, evaluates all of them. Where verification takes time
    for each token, one that is ready in time can still cost more than it gains: those that gain most are taken.

    Args:
        problem: A batch of rounds, (num_envs, users).
        shares: Positive shares of the band, (num_envs, users).

    Returns:
        Integers in 1..max_draft_length, (num_envs, users).
    """
    per_token_s = problem.drafting_latency_s + problem.full_band_upload_s / shares
    num_envs, users = per_token_s.shape
    lengths = np.arange(1, problem.max_draft_length + 1)
    ready_s = (per_token_s[:, :, np.newaxis] * lengths).reshape(num_envs, -1)
    gain = (problem.acceptance_rate[:, :, np.newaxis] ** lengths).reshape(num_envs, -1)
    if np.any(problem.verification_per_token_s):
        rounds = zip(
            ready_s.reshape(num_envs, users, -1),
            gain.reshape(num_envs, users, -1),
            np.broadcast_to(np.ravel(problem.verification_latency_s), num_envs),
            np.broadcast_to(np.ravel(problem.verification_per_token_s), num_envs),
            np.broadcast_to(np.ravel(problem.verification_free_tokens), num_envs),
            strict=True,
        )
        return np.stack([_best_priced_lengths(*one) for one in rounds])
    order = np.argsort(ready_s, axis=1, kind="stable")
    deadline_s = np.take_along_axis(ready_s, order, axis=1)
    tokens = users + np.cumsum(np.take_along_axis(gain, order, axis=1), axis=1)
    goodput = tokens / (deadline_s + np.reshape(problem.verification_latency_s, (-1, 1)))
    goodput[deadline_s < per_token_s.max(axis=1, keepdims=True)] = -np.inf  # everybody drafts at least one
    best = np.argmax(goodput, axis=1)[:, np.newaxis]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    return np.sum((rank <= best).reshape(num_envs, users, -1), axis=2)


def _best_priced_lengths(
    ready_s: FloatArray, gain: FloatArray, verification_s: float, per_token_s: float, free_tokens: float
) -> IntArray:
    """The lengths of one round in which tokens cost verification time, (users,).

    Args:
        ready_s: When each token has arrived, (users, lengths).
        gain: What each adds to the expected tokens, falling along a user's draft, (users, lengths).
        verification_s: Verification without what tokens add.
        per_token_s: What each adds beyond those that are free.
        free_tokens: Tokens that add nothing.
    """
    users = len(ready_s)
    # Everybody's first token, and then by what they gain; of equal ones an earlier one of the draft comes first.
    rank = gain.copy()
    rank[:, 0] = np.inf
    order = np.argsort(-rank, axis=None, kind="stable")
    deadline_s = np.unique(ready_s[ready_s >= ready_s[:, 0].max()])[:, np.newaxis]
    in_time = ready_s.ravel()[order] <= deadline_s
    tokens = users + np.cumsum(in_time * gain.ravel()[order], axis=1)
    beyond = np.maximum(users + np.cumsum(in_time, axis=1) - free_tokens, 0.0)
    goodput = (tokens / (deadline_s + verification_s + per_token_s * beyond))[:, users - 1 :]
    deadline, last = np.unravel_index(np.argmax(goodput), goodput.shape)
    taken = order[: last + users][in_time[deadline, : last + users]]
    return np.bincount(taken // ready_s.shape[1], minlength=users)


class Homogeneous(Controller):
    """Homo-Multi-SPIN: one length for all, bandwidth by Lemma 1."""

    name = "homogeneous"

    def act(self, view: RoundView) -> Allocation:
        """The homogeneous optimum for what is observed and the tasks' mean acceptance."""
        return solve_homogeneous(RoundProblem.from_view(view)).allocation


class Heterogeneous(Controller):
    """Hete-Multi-SPIN, solved to the certified optimum where the paper searches a grid."""

    name = "heterogeneous"

    def act(self, view: RoundView) -> Allocation:
        """The heterogeneous optimum for what is observed and the tasks' mean acceptance."""
        return solve_heterogeneous(RoundProblem.from_view(view)).allocation


class Algorithm1(Controller):
    """Hete-Multi-SPIN as the paper solves it: a grid over latency and multiplier."""

    name = "algorithm1"

    def act(self, view: RoundView) -> Allocation:
        """The best of the grid's rounded points."""
        return solve_algorithm1(RoundProblem.from_view(view)).allocation


class PointToPoint(Homogeneous):
    """P2P-SPIN: one user alone, with the whole band and the server to itself."""

    name = "p2p"

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """A system of one user."""
        return config.updated({"num_users": 1})


class Centralized(Homogeneous):
    """Cen-SPIN: the server drafts as well, for one user after the other, and nothing is uploaded.

    The paper does not say how the server batches its drafting. One user after the other is what its figure 6 implies:
    the time per token and user fitted to it is close to what is measured for such models on an A100.

    Args:
        server_drafting_latency_s: Time in which the server drafts one token of one user.
    """

    name = "centralized"

    def __init__(self, server_drafting_latency_s: float) -> None:
        self._server_drafting_latency_s = server_drafting_latency_s

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """A system of equal devices, each as slow as the server is for all, whose uploads (1 bit) take no time."""
        return config.updated(
            {
                "drafting_latency_s": config.num_users * self._server_drafting_latency_s,
                "drafting_latency_spread": 0.0,
                "heat": {"slowdown": 0.0},
                "payload_bits": 1.0,
            }
        )


def expected_goodput(problem: RoundProblem, allocation: Allocation) -> FloatArray:
    """Goodput of an allocation by eq. 13, whether or not its shares are the best ones, (num_envs,)."""
    per_token_s = problem.drafting_latency_s + problem.full_band_upload_s / allocation.bandwidth_share
    latency_s = np.max(allocation.draft_length * per_token_s, axis=-1)
    latency_s += problem.verification_s(allocation.draft_length)
    return np.sum(expected_tokens(problem.acceptance_rate, allocation.draft_length), axis=-1) / latency_s
