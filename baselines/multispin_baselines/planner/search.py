"""Better shares and lengths for futures that are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from multispin_baselines.planner.futures import Futures
from multispin_baselines.planner.objective import Objective
from multispin_env import Allocation, RoundView
from multispin_env.core.equations import FloatArray, IntArray, token_verification_s

# Exponents of the steps of shares: many that end small from a start, a few after a move of lengths.
_FIRST_STEPS = np.geomspace(0.6, 0.05, 14)
_STEPS_AFTER_MOVE = np.geomspace(0.5, 0.1, 4)
_LARGEST_RATIO = 4.0
_MOST_MOVES = 80
_LEAST_GAIN = 1e-6


def expected_maximum(time_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean of the latest arrival over all combinations of the users' samples.

    The probability that all have arrived is the product of the users' empirical distributions; it grows at each sample
    by the probability that this one is the latest, which is also how much the mean moves with it.

    Args:
        time_s: Arrivals, (rounds, users, samples), independent between users.

    Returns:
        The mean, (rounds,), and each sample's probability of being the latest, like ``time_s``.
    """
    rounds, users, samples = time_s.shape
    number = np.argsort(np.argsort(time_s, axis=-1, kind="stable"), axis=-1) + 1  # of the user's own so far
    flat = time_s.reshape(rounds, -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    counted = np.take_along_axis(number.reshape(rounds, -1), order, axis=-1)
    first = counted == 1
    log_product = np.cumsum(np.log(counted / np.where(first, 1, counted - 1)), axis=-1) - users * np.log(samples)
    all_arrived = np.where(np.cumsum(first, axis=-1) == users, np.exp(log_product), 0.0)
    latest = np.empty_like(flat)
    np.put_along_axis(latest, order, np.diff(all_arrived, axis=-1, prepend=0.0), axis=-1)
    return np.sum(latest * flat, axis=-1), latest.reshape(time_s.shape)


@dataclass(frozen=True, eq=False)
class Rounds:
    """Some rounds to plan.

    Attributes:
        view: What is known.
        futures: What may come.
        objective: What is sought.
    """

    view: RoundView
    futures: Futures
    objective: Objective

    def take(self, rounds: IntArray) -> Self:
        """Some of them."""
        return type(self)(self.view.take(rounds), self.futures.take(rounds), self.objective.take(rounds))

    def arrivals(self, length: IntArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Arrivals of each user's samples; see :class:`Arrivals`."""
        config = self.view.config
        load = length * (config.payload_bits / config.bandwidth_hz) / share
        return self.futures.arrivals(length * self.view.drafting_latency_s, load)

    def verification_s(self, drafted: IntArray | FloatArray) -> FloatArray:
        """Time to verify so many drafted tokens of all users."""
        config = self.view.config
        return config.verification_latency_s + token_verification_s(
            drafted + config.num_users, config.verification_per_token_s, config.verification_free_tokens
        )


class Plan(NamedTuple):
    """A decision for each of some rounds.

    Attributes:
        length: Draft lengths, (rounds, users).
        share: Bandwidth shares, (rounds, users).
        time_s: Arrivals, (rounds, users, samples).
        latest: Probability of each of these to be the latest.
        by_share_s: How much sooner the round is expected to end for a relative change of a share, (rounds, users).
        multi_access_s: Expected time until all have arrived, (rounds,).
        value: What is maximised, (rounds,).
    """

    length: IntArray
    share: FloatArray
    time_s: FloatArray
    latest: FloatArray
    by_share_s: FloatArray
    multi_access_s: FloatArray
    value: FloatArray

    @classmethod
    def of(cls, rounds: Rounds, length: IntArray, share: FloatArray) -> Plan:
        """Evaluates a decision."""
        share = share / np.sum(share, axis=-1, keepdims=True)
        time_s, by_share_s = rounds.arrivals(length, share)
        multi_access_s, latest = expected_maximum(time_s)
        seconds = multi_access_s + rounds.verification_s(np.sum(length, axis=-1))
        value = rounds.objective.value(np.sum(rounds.objective.of_drafts(length), axis=-1), seconds)
        return cls(length, share, time_s, latest, np.sum(latest * by_share_s, axis=-1), multi_access_s, value)

    def take(self, rounds: IntArray) -> Plan:
        """That of some rounds."""
        return Plan._make(part[rounds] for part in self)

    def or_better(self, other: Plan) -> Plan:
        """The better of the two in each round."""
        better = other.value > self.value
        return Plan._make(
            (
                np.where(better.reshape(-1, *(1,) * (ours.ndim - 1)), theirs, ours)
                for ours, theirs in zip(self, other, strict=True)
            )
        )


def planned(rounds: Rounds, starts: Sequence[Allocation]) -> Plan:
    """The best of the plans found from some starts."""
    return reduce(Plan.or_better, (_improved(rounds, Plan.of(rounds, *start)) for start in starts))


def _improved(rounds: Rounds, plan: Plan) -> Plan:
    plan = _with_better_shares(rounds, plan, _FIRST_STEPS)
    plan = _with_better_lengths(rounds, plan)
    return _with_better_shares(rounds, plan, _FIRST_STEPS)


def _with_better_shares(rounds: Rounds, plan: Plan, exponents: NDArray[np.float64]) -> Plan:
    """Steps towards shares in proportion to what a relative change of each is worth, the best plan kept."""
    best = current = plan
    for exponent in exponents:
        total_s = np.sum(current.by_share_s, axis=-1, keepdims=True)
        ratio = current.by_share_s / (total_s * current.share)
        step = np.clip(ratio, 1.0 / _LARGEST_RATIO, _LARGEST_RATIO) ** exponent
        current = Plan.of(rounds, current.length, current.share * step)
        best = best.or_better(current)
    return best


def _with_better_lengths(rounds: Rounds, plan: Plan) -> Plan:
    """Moves of users by one token, while they improve the value.

    At first the most promising half of the moves at once, and half as many whenever that improves nothing. A round is
    done when its single most promising move does not improve it.
    """
    users = plan.length.shape[1]
    at_once = np.full(len(plan.length), max(1, users // 2))
    active = np.arange(len(plan.length))
    for _ in range(_MOST_MOVES):
        here, now = rounds.take(active), plan.take(active)
        longer, shorter = (_value_after(here, now, sign) for sign in (1, -1))
        promise = np.maximum(longer, shorter)
        rank = np.argsort(np.argsort(-promise, axis=1, kind="stable"), axis=1)
        moving = (rank < at_once[active, np.newaxis]) & (promise > now.value[:, np.newaxis])
        length = now.length + moving * np.where(longer > shorter, 1, -1)
        moved = Plan.of(here, length, now.share * length / now.length)
        moved = _with_better_shares(here, moved, _STEPS_AFTER_MOVE)
        gained = moved.value > now.value + _LEAST_GAIN * np.abs(now.value)
        for whole, part in zip(plan, now.or_better(moved), strict=True):
            whole[active] = part
        moves = np.minimum(at_once[active], np.sum(moving, axis=1))
        at_once[active] = np.where(gained, at_once[active], moves // 2)
        active = active[at_once[active] > 0]
        if not active.size:
            break
    return plan


def _value_after(rounds: Rounds, plan: Plan, change: int) -> FloatArray:
    """Value after a user's draft becomes longer or shorter, to first order in the arrivals, (rounds, users).

    The user's share changes in proportion to its length, and the others make room in proportion.
    """
    length = np.clip(plan.length + change, 1, rounds.view.config.max_draft_length)
    relative = length / plan.length
    room = 1.0 + plan.share * (relative - 1.0)
    time_s, _ = rounds.arrivals(length, plan.share * relative / room)
    others_s = np.sum(plan.by_share_s, axis=-1, keepdims=True) - plan.by_share_s
    later_s = np.sum(plan.latest * (time_s - plan.time_s), axis=-1) + others_s * np.log(room)
    before = rounds.objective.of_drafts(plan.length)
    utility = np.sum(before, axis=-1, keepdims=True) - before + rounds.objective.of_drafts(length)
    drafted = np.sum(plan.length, axis=-1, keepdims=True) - plan.length + length
    seconds = plan.multi_access_s[:, np.newaxis] + later_s + rounds.verification_s(drafted)
    value = rounds.objective.value(utility.T, seconds.T).T
    return np.where(length == plan.length, -np.inf, value)
