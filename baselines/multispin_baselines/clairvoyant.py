"""The upper reference: the optimum of the round for the channel and the acceptance as they are."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from multispin_env import Allocation, RoundView
from multispin_env.core import EXACT, TrueView
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens, token_verification_s
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_heterogeneous
from multispin_env.optimal.rate_path import RatePath, equalize_on_path

# Cells of a path to a Doppler period, within limits, and how far it goes, over the latency of constant rates.
_CELLS_PER_PERIOD = 8.0
_CELL_LIMITS_S = (0.002, 0.02)
_REACH, _MOST_CELLS = 3.0, 3000
# Environments whose paths are held at once.
_TOGETHER = 16
_ALTERNATIONS = 4
# Moves of one token that are tried in a step, those of the greatest promise, and most steps.
_MOVES, _STEPS = 6, 40
_LEAST_GAIN = 1e-9


class Clairvoyant(Controller):
    """The best allocation found for the true channel, as it will be, and the true acceptance.

    For given lengths the best shares are those of Lemma 3 on the path that the rates will take. Lengths come from
    alternating between the heterogeneous optimum for constant rates and the rates that its uploads then find, and from
    moves of one token evaluated on the path. An upper reference that no real controller can have; it plans no further
    than the round.
    """

    name = "clairvoyant"
    privileged = True

    def act(self, view: RoundView) -> Allocation:
        """The best allocation found."""
        if not isinstance(view, TrueView):
            raise TypeError(f"{self.name} needs a TrueView, got {type(view).__name__}")
        if view.csi == EXACT:
            return solve_heterogeneous(RoundProblem.from_view(view, acceptance_rate=view.acceptance_rate)).allocation
        num_envs = len(view.acceptance_rate)
        plans = [_plan(view.take(slice(one, one + _TOGETHER))) for one in range(0, num_envs, _TOGETHER)]
        return Allocation(*(np.concatenate(parts) for parts in zip(*(plan[:2] for plan in plans), strict=True)))


class Plan(NamedTuple):
    """A decision for each of some rounds.

    Attributes:
        length: Draft lengths, (..., rounds, users).
        share: Shares of the band, (..., rounds, users).
        latency_s: Time until the drafts have arrived, (..., rounds).
        goodput: Expected tokens per second, (..., rounds).
    """

    length: IntArray
    share: FloatArray
    latency_s: FloatArray
    goodput: FloatArray

    @classmethod
    def of(cls, view: TrueView, path: RatePath, length: IntArray) -> Self:
        """The best shares for these lengths."""
        config = view.config
        load: FloatArray = length * np.float64(config.payload_bits / config.bandwidth_hz)
        latency_s, share = equalize_on_path(path, load, length * view.drafting_latency_s)
        tokens = np.sum(expected_tokens(view.acceptance_rate, length), axis=-1)
        return cls(length, share, latency_s, tokens / (latency_s + _verification_s(view, length)))

    def or_better(self, other: Plan) -> Plan:
        """The better of the two in each round."""
        better = other.goodput > self.goodput
        wide = better[..., np.newaxis]
        return Plan(
            np.where(wide, other.length, self.length),
            np.where(wide, other.share, self.share),
            np.where(better, other.latency_s, self.latency_s),
            np.where(better, other.goodput, self.goodput),
        )


def _plan(view: TrueView) -> Plan:
    starts = _constant_rate_lengths(view)
    path = _path(view, starts)
    best = Plan.of(view, path, starts[0])
    for length in starts[1:]:
        best = best.or_better(Plan.of(view, path, length))
    for _ in range(_STEPS):
        tried = Plan.of(view, path, _moves(view, path, best))
        place = np.argmax(tried.goodput, axis=0)
        rounds = np.arange(len(place))
        found = Plan(*(part[place, rounds] for part in tried))
        if not np.any(found.goodput > best.goodput * (1.0 + _LEAST_GAIN)):
            break
        best = best.or_better(found)
    return best


def _constant_rate_lengths(view: TrueView) -> list[IntArray]:
    """Lengths of the optimum for the rates that are observed, and for those that its uploads would find."""
    problem = RoundProblem.from_view(view, acceptance_rate=view.acceptance_rate)
    lengths = [solve_heterogeneous(problem).allocation.draft_length]
    for _ in range(_ALTERNATIONS - 1):
        rate = view.spectral_efficiency_at_upload(lengths[-1])
        problem = RoundProblem.from_view(view, acceptance_rate=view.acceptance_rate, spectral_efficiency=rate)
        lengths.append(solve_heterogeneous(problem).allocation.draft_length)
    return lengths


def _path(view: TrueView, lengths: list[IntArray]) -> RatePath:
    fastest_hz = float(np.max(view.doppler_hz)) if view.doppler_known else np.inf
    cell_s = float(np.clip(1.0 / max(_CELLS_PER_PERIOD * fastest_hz, 1e-9), *_CELL_LIMITS_S))
    long_term = RoundProblem.from_view(view, spectral_efficiency=view.long_term_spectral_efficiency)
    reach_s = _REACH * max(float(np.max(equalize_bandwidth(long_term, length)[0])) for length in lengths)
    cells = int(np.clip(np.ceil(reach_s / cell_s), 1, _MOST_CELLS))
    return RatePath.sampled(lambda time_s: view.spectral_efficiency_at(view.time_s + time_s), cell_s, cells)


def _moves(view: TrueView, path: RatePath, plan: Plan) -> IntArray:
    """Lengths after the most promising moves of one token, (moves, rounds, users).

    A move of user k changes phi by the ratio of the derivatives of the condition of :func:`equalize_on_path`.
    """
    config, length = view.config, plan.length
    drafting_s = length * view.drafting_latency_s
    ready, rate_then = path.at(drafting_s)
    carried, rate = path.at(np.broadcast_to(plan.latency_s[..., np.newaxis], drafting_s.shape))
    sent = np.maximum(carried - ready, 1e-12)
    load = length * (config.payload_bits / config.bandwidth_hz)
    by_phi = np.sum(load * rate / np.square(sent), axis=-1, keepdims=True)
    by_length = load / length / sent + load * rate_then * view.drafting_latency_s / np.square(sent)
    tokens = expected_tokens(view.acceptance_rate, length)
    promise = []
    for change in (1, -1):
        moved = np.clip(length + change, 1, config.max_draft_length)
        gained = np.sum(tokens, axis=-1, keepdims=True) + expected_tokens(view.acceptance_rate, moved) - tokens
        latency_s = plan.latency_s[..., np.newaxis] + change * by_length / by_phi
        goodput = gained / (np.maximum(latency_s, 1e-9) + _verification_s(view, length)[..., np.newaxis])
        promise.append(np.where(moved == length, -np.inf, goodput))
    users = length.shape[-1]
    order = np.argsort(-np.concatenate(promise, axis=-1), axis=-1)[..., : min(_MOVES, 2 * users)]
    rows = np.arange(len(length))
    moves = np.repeat(length[np.newaxis], order.shape[-1], axis=0)
    for number, move in enumerate(order.T):
        moves[number, rows, move % users] += np.where(move < users, 1, -1)
    return np.clip(moves, 1, config.max_draft_length)


def _verification_s(view: TrueView, length: IntArray) -> FloatArray:
    config, num_tokens = view.config, np.sum(length + 1, axis=-1)
    tokens_s = token_verification_s(num_tokens, config.verification_per_token_s, config.verification_free_tokens)
    return config.verification_latency_s + tokens_s
