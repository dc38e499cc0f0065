"""The stochastic optimum: the most to be had from what the protocol reveals, in a round or in the long run."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from multispin_baselines.aged import Arrival, Uploads, rate_quantile
from multispin_baselines.beliefs import (
    Evidence,
    acceptance_belief,
    acceptance_powers,
    expected_log_tokens,
    lasting,
    tokens_per_round,
)
from multispin_env import Allocation, RoundView
from multispin_env.core import EXACT
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, average_round, equalize_bandwidth, solve_heterogeneous

# Quantiles of the rate at upload that the search's starting points count on.
_START_QUANTILES = (0.02, 0.05, 0.12, 0.3)
# A starting point's rates depend on its lengths and the other way round: steps of that iteration.
_START_STEPS = 2
# Instants at which the distribution of the round's end is evaluated.
_NUM_INSTANTS = 40
# The mean wait for a fading upload diverges logarithmically. It is cut off at this many times the starting points'
# shortest wait; an episode of 200 rounds sees little of what lies beyond.
_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 40.0
_SHARE_STEPS = 12
_SHARE_STEPS_PER_MOVE = 2
_MOST_MOVES = 100
_LEAST_GAIN = 1e-5
_TINY = 1e-12
# With known rates: latencies tried, over that of the closed form's answer, and halvings of the band's price.
_LATENCIES = np.geomspace(0.5, 2.0, 25)
_BISECTIONS = 30
# The closed form's answer fills the band exactly at its own latency, and twice its lengths at twice that: without a
# margin the last bits, which differ between versions of SciPy, would decide whether they fit.
_FULL_BAND = 1.0 + 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class _Round:
    """A batch of rounds, and what is sought in them.

    Attributes:
        uploads: The rounds, in aged fading.
        worth: What each user's draft of 0, 1, 2 ... tokens is worth, (lanes, users, lengths).
        price: Price of a second in that unit, (lanes,). Without one the worth of a second is sought.
    """

    uploads: Uploads
    worth: FloatArray
    price: FloatArray | None

    def take(self, lanes: IntArray) -> Self:
        """Some of the rounds."""
        price = None if self.price is None else self.price[lanes]
        return dataclasses.replace(self, uploads=self.uploads.take(lanes), worth=self.worth[lanes], price=price)

    def of_users(self, length: IntArray) -> FloatArray:
        """Worth of each user's draft, (lanes, users)."""
        return np.take_along_axis(self.worth, length[..., np.newaxis], axis=-1)[..., 0]

    def value(self, worth: FloatArray, seconds: FloatArray) -> FloatArray:
        """What is sought; arrays are (lanes, ...)."""
        return _value(worth, seconds, self.price)


def _value(worth: FloatArray, seconds: FloatArray, price: FloatArray | None) -> FloatArray:
    if price is None:
        return worth / seconds
    return worth - price.reshape(-1, *(1,) * (seconds.ndim - 1)) * seconds


def _improves(new: FloatArray, old: FloatArray) -> NDArray[np.bool_]:
    return new > old + _LEAST_GAIN * np.abs(old)


class _Plan(NamedTuple):
    """A decision for a batch of rounds with what follows from it.

    Attributes:
        length: Draft lengths, (lanes, users).
        share: Bandwidth shares, (lanes, users).
        arrival: The users' arrivals.
        ended: Probability that all have arrived, (lanes, instants).
        value: What is sought, (lanes,).
    """

    length: IntArray
    share: FloatArray
    arrival: Arrival
    ended: FloatArray
    value: FloatArray

    @classmethod
    def of(cls, rounds: _Round, length: IntArray, share: FloatArray) -> _Plan:
        """Evaluates a decision."""
        arrival = rounds.uploads.arrival(length, share)
        ended = np.exp(np.sum(arrival.log_probability, axis=1))
        value = rounds.value(
            np.sum(rounds.of_users(length), axis=-1), rounds.uploads.round_s(ended, np.sum(length, axis=-1))
        )
        return cls(length, share, arrival, ended, value)

    def take(self, lanes: IntArray) -> _Plan:
        """Some of the decisions."""
        arrival = Arrival(*(field[lanes] for field in self.arrival))
        return _Plan(self.length[lanes], self.share[lanes], arrival, self.ended[lanes], self.value[lanes])

    def put(self, lanes: IntArray, other: _Plan) -> None:
        """Overwrites some of the decisions."""
        for ours, theirs in zip(
            (*self[:2], *self.arrival, *self[3:]), (*other[:2], *other.arrival, *other[3:]), strict=True
        ):
            ours[lanes] = theirs

    def or_better(self, other: _Plan) -> _Plan:
        """The better of the two, lane by lane."""
        better = other.value > self.value

        def chosen(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
            return np.where(better.reshape(-1, *(1,) * (ours.ndim - 1)), theirs, ours)

        return _Plan(
            chosen(self.length, other.length),
            chosen(self.share, other.share),
            Arrival(*(chosen(*pair) for pair in zip(self.arrival, other.arrival, strict=True))),
            chosen(self.ended, other.ended),
            chosen(self.value, other.value),
        )


class _Planner(Controller):
    """Maximises what is sought over lengths and shares, weighing what it does not know by its distribution.

    That is the fading at upload, which is Rician given the one observed and independent between users, so that the
    mean time of the slowest upload is an integral over a product; and the request's acceptance. From the closed form's
    answers to several quantiles of the rates it improves the shares by fixed-point steps and the lengths by moves of
    one token.
    """

    @abstractmethod
    def _sought(self, view: RoundView, evidence: Evidence) -> tuple[FloatArray, FloatArray | None]:
        """Worth of each user's drafts, (lanes, users, lengths from 0), and a second's price, (lanes,), or None."""

    def act(self, view: RoundView) -> Allocation:
        """The best allocation found."""
        evidence = acceptance_belief(view)
        worth, price = self._sought(view, evidence)
        if view.csi == EXACT:
            return _for_known_rates(view, evidence, worth, price)
        starts = [_start(view, evidence, worth, price, quantile) for quantile in _START_QUANTILES]
        wait_s = np.min([latency_s for _, latency_s in starts], axis=0)
        instants = np.geomspace(_SHORTEST_WAIT, _LONGEST_WAIT, _NUM_INSTANTS)
        uploads = Uploads(view=view, instant_s=wait_s[:, np.newaxis] * instants)
        rounds = _Round(uploads=uploads, worth=worth, price=price)
        plans = [_with_better_shares(rounds, _Plan.of(rounds, *start), _SHARE_STEPS) for start, _ in starts]
        best = plans[0]
        for plan in plans[1:]:
            best = best.or_better(plan)
        best = _with_better_lengths(rounds, best)
        return Allocation(best.length, best.share)


class Stochastic(_Planner):
    """Expected tokens over expected seconds of the round, maximised: the gold standard of a round.

    It sees what every controller sees. Of the acceptance expected tokens need the moments alone.

    It plans no further than the round, and misses something by that: see :class:`LongRun`.
    """

    name = "stochastic"

    def _sought(self, view: RoundView, evidence: Evidence) -> tuple[FloatArray, FloatArray | None]:
        return np.cumsum(acceptance_powers(evidence, view.config.max_draft_length), axis=-1), None


class LongRun(_Planner):
    """The stochastic optimum of the long run (ours): what a round adds to tokens over seconds of many rounds.

    A second has one price then, whatever the round. And where a request's acceptance lasts a token is not worth the
    same in every request: a request's tokens come in any case, what a decision changes is the rounds that they take,
    and hard requests take most of them. With r(t) tokens a round where the user's text has come to token t, a user
    gains ``1 / mean_t(1 / r(t))`` tokens a round over a long text. Its change with r(t), counted by rounds, is
    ``g d ln r(t)`` with g the user's tokens a round: so a draft is worth ``g E[ln E[N | alpha, L]]``. Where acceptance
    is known, or drifts so that every request meets all of it, a token is worth a token, and a draft ``E[N | L]``.

    g and the price are taken from the average round of the system: nothing is tuned. (The price that goes with the
    seconds expected in aged fading is lower, and came out worse in `mobile`: waits that no expectation of a few rounds
    holds decide over episodes.)
    """

    name = "long-run"

    def _sought(self, view: RoundView, evidence: Evidence) -> tuple[FloatArray, FloatArray | None]:
        lasts, longest = lasting(view)[..., np.newaxis], view.config.max_draft_length
        worth = np.cumsum(acceptance_powers(evidence, longest), axis=-1)
        if lasts.any():
            lasting_worth = _average_tokens(view)[..., np.newaxis] * expected_log_tokens(evidence, longest)
            worth = np.where(lasts, lasting_worth, worth)
        return worth, long_run_price(view)


def long_run_worth(view: RoundView, tokens: FloatArray) -> FloatArray:
    """What drafts are worth to a user's tokens in the long run where acceptance is known; see :class:`LongRun`.

    Args:
        view: The rounds.
        tokens: Expected tokens gained by eq. 12, (lanes, users).

    Returns:
        Tokens, (lanes, users).
    """
    return np.where(lasting(view), _average_tokens(view) * np.log(tokens), tokens)


def long_run_price(view: RoundView) -> FloatArray:
    """Tokens that a second is worth in the long run, (lanes,)."""
    return np.sum(_average_tokens(view), axis=-1) / average_round(view.config).latency_s


def _average_tokens(view: RoundView) -> FloatArray:
    return tokens_per_round(view, average_round(view.config).draft_length)


def _for_known_rates(view: RoundView, evidence: Evidence, worth: FloatArray, price: FloatArray | None) -> Allocation:
    """Where the rates are as observed: the best of a few plans, improved by moves of one token."""
    problem = RoundProblem.from_view(view, acceptance_rate=evidence.mean)
    found = _plans(problem, worth, _LATENCIES)
    users = found.shape[-1]
    one = np.eye(users, dtype=np.int64)[:, np.newaxis]
    moves = np.concatenate([np.zeros_like(one[:1]), one, -one])
    while True:
        best, allocation, _ = _best(problem, found, worth, price)
        if len(found) == len(moves) and not np.any(best):
            return allocation
        found = np.clip(allocation.draft_length + moves, 1, problem.max_draft_length)


def _plans(problem: RoundProblem, worth: FloatArray, latencies: FloatArray) -> IntArray:
    """Lengths worth a look where the rates are known: the closed form's, and relaxed optima, (plans, lanes, users)."""
    start = solve_heterogeneous(problem).allocation.draft_length
    latency_s, _ = equalize_bandwidth(problem, start)
    return np.stack([start, *(_relaxed(problem, worth, factor * latency_s) for factor in latencies)])


def _best(
    problem: RoundProblem, lengths: IntArray, worth: FloatArray, price: FloatArray | None
) -> tuple[IntArray, Allocation, FloatArray]:
    """Which of the plans is best in each lane, (lanes,), the plan, and its latency, (lanes,)."""
    latencies_s, shares = equalize_bandwidth(problem, lengths)
    drafts = np.take_along_axis(worth[np.newaxis], lengths[..., np.newaxis], axis=-1)[..., 0]
    seconds = latencies_s + problem.verification_s(lengths)
    values = [_value(*one, price) for one in zip(np.sum(drafts, axis=-1), seconds, strict=True)]
    best = np.argmax(values, axis=0)
    chosen = best, np.arange(len(best))
    return best, Allocation(lengths[chosen], shares[chosen]), latencies_s[chosen]


def _relaxed(problem: RoundProblem, worth: FloatArray, latency_s: FloatArray) -> IntArray:
    """Lengths of the most worth that arrive within a latency: each user's best at one price of the band, by bisection.

    Args:
        problem: The rounds.
        worth: As :class:`_Round` has it, concave in the length.
        latency_s: Time until the drafts have to be there, (lanes,).
    """
    lengths = np.arange(1, worth.shape[-1])
    per_token_s, upload_s = (
        array[..., np.newaxis] for array in (problem.drafting_latency_s, problem.full_band_upload_s)
    )
    left_s = latency_s[:, np.newaxis, np.newaxis] - lengths * per_token_s
    share = np.where(left_s > 0.0, upload_s * lengths / np.where(left_s > 0.0, left_s, 1.0), np.inf)
    share[..., 0] = np.minimum(share[..., 0], 1e3)  # something has to be drafted, in time or not
    low, high = np.full(len(worth), 1e-6), np.full(len(worth), 1e6)
    for _ in range(_BISECTIONS):
        price = np.sqrt(low * high)
        best = np.argmax(worth[..., 1:] - price[:, np.newaxis, np.newaxis] * share, axis=-1)
        used = np.sum(np.take_along_axis(share, best[..., np.newaxis], axis=-1)[..., 0], axis=-1)
        low, high = np.where(used > _FULL_BAND, price, low), np.where(used > _FULL_BAND, high, price)
    return lengths[np.argmax(worth[..., 1:] - high[:, np.newaxis, np.newaxis] * share, axis=-1)]


def _start(
    view: RoundView, evidence: Evidence, worth: FloatArray, price: FloatArray | None, quantile: float
) -> tuple[Allocation, FloatArray]:
    """A plan that counts on a quantile of the rates, and the latency it expects, (lanes,)."""
    length = solve_heterogeneous(RoundProblem.from_view(view, acceptance_rate=evidence.mean)).allocation.draft_length
    for _ in range(_START_STEPS):
        rate = rate_quantile(view, length * view.drafting_latency_s, quantile)
        problem = RoundProblem.from_view(view, acceptance_rate=evidence.mean, spectral_efficiency=rate)
        _, allocation, latency_s = _best(problem, _plans(problem, worth, _LATENCIES[::3]), worth, price)
        length = allocation.draft_length
    return allocation, latency_s


def _with_better_shares(rounds: _Round, plan: _Plan, steps: int) -> _Plan:
    """Fixed-point steps towards shares in proportion to what a relative change of each is worth, the best kept."""
    best = current = plan
    for _ in range(steps):
        worth = np.einsum("lt,lkt->lk", rounds.uploads.weight_s * current.ended, current.arrival.slope)
        total = np.sum(worth, axis=1, keepdims=True)
        some = total > _TINY
        # Where the rates are all but known the ends may lie between the instants: nothing is worth a change there.
        worth = np.where(some, np.maximum(worth / np.where(some, total, 1.0), _TINY), current.share)
        share = np.sqrt(current.share * worth)
        current = _Plan.of(rounds, current.length, share / np.sum(share, axis=1, keepdims=True))
        best = best.or_better(current)
    return best


def _with_better_lengths(rounds: _Round, plan: _Plan) -> _Plan:
    """Moves of users by one token, while they improve the value.

    At first many of the most promising moves at once, and half as many whenever that improves nothing. A round leaves
    the batch when its single most promising move does not improve it.
    """
    lanes, users = plan.length.shape
    at_once = np.full(lanes, max(1, users // 2))
    active = np.arange(lanes)
    for _ in range(_MOST_MOVES):
        here, now = rounds.take(active), plan.take(active)
        longer, shorter = (_values_after(here, now, sign) for sign in (1, -1))
        promise = np.maximum(longer, shorter)
        rank = np.argsort(np.argsort(-promise, axis=1, kind="stable"), axis=1)
        moving = (rank < at_once[active, np.newaxis]) & _improves(promise, now.value[:, np.newaxis])
        length = now.length + moving * np.where(longer > shorter, 1, -1)
        share = now.share * length / now.length
        moved = _Plan.of(here, length, share / np.sum(share, axis=1, keepdims=True))
        moved = _with_better_shares(here, moved, _SHARE_STEPS_PER_MOVE)
        gained = _improves(moved.value, now.value)
        plan.put(active, now.or_better(moved))
        at_once[active] = np.where(gained, at_once[active], np.minimum(at_once[active], moving.sum(axis=1)) // 2)
        active = active[at_once[active] > 0]
        if not active.size:
            break
    return plan


def _values_after(rounds: _Round, plan: _Plan, sign: int) -> FloatArray:
    """Value after each user's length alone changes by ``sign``, to first order in the others' shares, (lanes, users).

    The user's share changes in proportion to its length, and the others make room or take it in proportion.
    """
    longest = rounds.uploads.view.config.max_draft_length
    length = np.clip(plan.length + sign, 1, longest)
    relative = length / plan.length
    room = -np.log1p(plan.share * (relative - 1.0))
    arrival = rounds.uploads.arrival(length, plan.share * relative * np.exp(room))
    total = np.sum(plan.arrival.log_probability, axis=1, keepdims=True)
    others_slope = np.sum(plan.arrival.slope, axis=1, keepdims=True) - plan.arrival.slope
    log_ended = total - plan.arrival.log_probability + arrival.log_probability + others_slope * room[..., np.newaxis]
    before = rounds.of_users(plan.length)
    worth = np.sum(before, axis=1, keepdims=True) - before + rounds.of_users(length)
    drafted = np.sum(plan.length, axis=1, keepdims=True) - plan.length + length
    value = rounds.value(worth, rounds.uploads.round_s(np.exp(np.minimum(log_ended, 0.0)), drafted))
    return np.where(length == plan.length, -np.inf, value)
