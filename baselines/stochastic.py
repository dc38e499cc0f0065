"""The stochastic optimum: the most to be had in one round from what the protocol reveals, slow or not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from baselines.controller import Controller
from multispin_env import Allocation, RoundView
from multispin_env.core.requests import beta_parameters
from multispin_env.core.round import LN_2, FloatArray, IntArray, spectral_efficiency
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_heterogeneous

# Quantiles of the rate at upload that the search's starting points count on.
_START_QUANTILES = (0.02, 0.06, 0.15, 0.35)
# A starting point's rates and acceptance depend on its lengths and the other way round: steps of that iteration.
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
# A rate in nats that no channel carries, and the least probability that logarithms are taken of.
_UNREACHABLE = 60.0
_TINY = 1e-12

# Tabulated distribution of a Rician amplitude: steps of the noncentrality and of the distance from it.
_CENTRE_STEP, _LARGEST_CENTRE = 0.1, 30.0
_DISTANCE_STEP, _LARGEST_DISTANCE = 0.05, 7.0


class Evidence(NamedTuple):
    """What is believed of each user's acceptance, arrays (lanes, users).

    Attributes:
        first: First parameter of a Beta distribution; means nothing where the acceptance is known.
        second: Its second parameter.
        mean: Mean acceptance.
        known: Where the acceptance is its mean.
    """

    first: FloatArray
    second: FloatArray
    mean: FloatArray
    known: NDArray[np.bool_]


def recent_evidence(view: RoundView) -> Evidence:
    """The Beta posterior of each request's acceptance now, old evidence discounted where acceptance drifts.

    The last round counts in full. What is older counts as ``n / (1 + drift_share n)`` decided drafts in place of n:
    all of them without drift, and at most ``1 / drift_share`` with it. The rule is ours; against the posterior that
    counts everything alike it cuts the mean squared error in `mobile` by a quarter (llama2) and more (qwen3.5).
    """
    mean, std = view.task_acceptance_mean, view.task_acceptance_std
    known = std == 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = beta_parameters(mean, np.where(known, 1.0, std))
    running = view.request_tested > 0
    last_accepted = np.where(running, view.last_accepted, 0)
    last_tested = np.where(running, view.last_accepted + (view.last_accepted < view.last_draft_length), 0)
    older = view.request_tested - last_tested
    weight = 1.0 / (1.0 + view.config.requests.drift_share * older)
    accepted = last_accepted + weight * (view.request_accepted - last_accepted)
    tested = last_tested + weight * older
    first, second = first + accepted, second + tested - accepted
    return Evidence(first, second, np.where(known, mean, first / np.where(known, 1.0, first + second)), known)


def acceptance_powers(evidence: Evidence, longest: int) -> FloatArray:
    """Probability that the first l drafts are all accepted, ``E[alpha^l]`` for l = 0..longest, (lanes, users, l)."""
    steps = np.arange(longest)
    first, second = evidence.first[..., np.newaxis], evidence.second[..., np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = (first + steps) / (first + second + steps)
    factors = np.where(evidence.known[..., np.newaxis], evidence.mean[..., np.newaxis], factors)
    return np.concatenate([np.ones_like(first), np.cumprod(factors, axis=-1)], axis=-1)


@lru_cache
def _amplitude_table() -> FloatArray:
    """Probability that a unit Gaussian in the plane, centred at distance c, falls within c + d of the origin.

    Rows are the centres c, columns the distances d; both on equidistant grids.
    """
    centre = np.arange(0.0, _LARGEST_CENTRE + 0.5 * _CENTRE_STEP, _CENTRE_STEP)[:, np.newaxis]
    distance = np.arange(-_LARGEST_DISTANCE, _LARGEST_DISTANCE + 0.5 * _DISTANCE_STEP, _DISTANCE_STEP)
    return special.chndtr(np.square(np.maximum(centre + distance, 0.0)), 2.0, np.square(centre))


def amplitude_below(centre: FloatArray, amplitude: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distribution function and density of a Rician amplitude, by linear interpolation.

    Args:
        centre: Distance of the Gaussian's centre from the origin, in its standard deviations, at least 0.
        amplitude: Where to evaluate, at least 0, in the same unit; broadcast against ``centre``.
    """
    table = _amplitude_table()
    # Far from the origin the distribution only depends on the distance.
    row = np.minimum(centre / _CENTRE_STEP, len(table) - 1.001)
    anywhere = (amplitude - centre + _LARGEST_DISTANCE) / _DISTANCE_STEP
    column = np.clip(anywhere, 0.0, table.shape[1] - 1.001)
    row_below, column_below = row.astype(np.int64), column.astype(np.int64)
    row_part, column_part = row - row_below, column - column_below
    flat = table.ravel()
    corner = row_below * table.shape[1] + column_below
    left = flat[corner] + row_part * (flat[corner + table.shape[1]] - flat[corner])
    right = flat[corner + 1] + row_part * (flat[corner + table.shape[1] + 1] - flat[corner + 1])
    density = np.where(column == anywhere, right - left, 0.0) / _DISTANCE_STEP
    return left + column_part * (right - left), density


class Arrival(NamedTuple):
    """When a user's draft has arrived, at instants on the last axis, (lanes, users, instants).

    Attributes:
        log_probability: Logarithm of the probability that it has.
        slope: Derivative of that by the logarithm of the user's share.
    """

    log_probability: FloatArray
    slope: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Round:
    """A batch of rounds in aged fading, and the instants at which their ends are weighed.

    Attributes:
        view: The rounds.
        powers: :func:`acceptance_powers`.
        instant_s: Instants, ascending, (lanes, instants).
    """

    view: RoundView
    powers: FloatArray
    instant_s: FloatArray

    def take(self, lanes: IntArray) -> Self:
        """Some of the rounds."""
        arrays: dict[str, Any] = {
            item.name: value[lanes]
            for item in dataclasses.fields(self.view)
            if isinstance(value := getattr(self.view, item.name), np.ndarray)
        }
        view = dataclasses.replace(self.view, **arrays)
        return dataclasses.replace(self, view=view, powers=self.powers[lanes], instant_s=self.instant_s[lanes])

    def tokens(self, length: IntArray) -> FloatArray:
        """Expected tokens of each user, (lanes, users)."""
        counted = np.arange(self.powers.shape[-1]) <= length[..., np.newaxis]
        return np.sum(self.powers * counted, axis=-1)

    def arrival(self, length: IntArray, share: FloatArray) -> Arrival:
        """Whether drafts have arrived; lengths and shares are (lanes, users)."""
        view, config = self.view, self.view.config
        delay_s = length * view.drafting_latency_s
        centre, unit_snr = aged_fading(view, delay_s)
        upload_s = self.instant_s[:, np.newaxis, :] - delay_s[..., np.newaxis]
        bits_per_hz = (config.payload_bits / config.bandwidth_hz) * (length / share)
        unit_snr = unit_snr[..., np.newaxis]
        with np.errstate(divide="ignore"):
            # Nats per hertz and second that are needed to be there in time.
            needed = np.minimum(LN_2 * bits_per_hz[..., np.newaxis] / np.maximum(upload_s, 0.0), _UNREACHABLE)
        power = np.expm1(needed) / unit_snr
        amplitude = np.sqrt(power)
        below, density = amplitude_below(centre[..., np.newaxis], amplitude)
        arrived = np.maximum(1.0 - below, _TINY)
        # The amplitude that is needed falls by this per unit of ln(share), as ``needed`` goes with 1 / share.
        fall = 0.5 * needed * (power + 1.0 / unit_snr) / np.maximum(amplitude, _TINY)
        return Arrival(np.log(arrived), density * fall / arrived)

    @cached_property
    def weight_s(self) -> FloatArray:
        """Weights of the trapezoidal rule, (lanes, instants)."""
        half = 0.5 * np.diff(self.instant_s, axis=-1)
        return np.pad(half, ((0, 0), (1, 0))) + np.pad(half, ((0, 0), (0, 1)))

    def round_s(self, ended: FloatArray) -> FloatArray:
        """Mean duration of the round, its wait cut off at the last instant.

        Args:
            ended: Probability that all have arrived by each instant, (lanes, ..., instants).

        Returns:
            Seconds, (lanes, ...).
        """
        between = (slice(None), *(np.newaxis,) * (ended.ndim - 2))
        waited_s = np.sum(self.weight_s[between] * (1.0 - ended), axis=-1)
        return self.instant_s[:, 0][between] + waited_s + self.view.config.verification_latency_s


def expected_round_s(view: RoundView, allocation: Allocation, instant_s: FloatArray) -> FloatArray:
    """Mean duration of a round in aged fading given what is known at its start, (lanes,).

    Args:
        view: The rounds.
        allocation: The decisions.
        instant_s: Instants at which to weigh the round's end, ascending, (instants,); the last one cuts off the wait.
    """
    lanes, users = view.drafting_latency_s.shape
    instants = np.broadcast_to(instant_s, (lanes, len(instant_s)))
    rounds = _Round(view=view, powers=np.ones((lanes, users, 1)), instant_s=instants)
    arrival = rounds.arrival(allocation.draft_length, allocation.bandwidth_share)
    return rounds.round_s(np.exp(np.sum(arrival.log_probability, axis=1)))


def aged_fading(view: RoundView, delay_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the fading at upload is distributed as, given the one observed: a Rician amplitude.

    Args:
        view: The round.
        delay_s: Time from the observation to the upload, (lanes, users).

    Returns:
        The amplitude's centre, in standard deviations of either of its two Gaussian parts, and the signal to noise
        ratio at an amplitude of one such deviation, both (lanes, users).
    """
    rate = delay_s / view.config.channel.fading_correlation_time_s
    mean_snr = np.expm1(LN_2 * view.long_term_spectral_efficiency)
    power = np.expm1(LN_2 * view.observed_spectral_efficiency) / mean_snr
    variance = -0.5 * np.expm1(-2.0 * rate)
    return np.sqrt(np.exp(-2.0 * rate) * power / variance), mean_snr * variance


@lru_cache
def _quantile_distance(quantile: float) -> FloatArray:
    """Distance of the amplitude's quantile from each centre of the table."""
    table = _amplitude_table()
    distance = -_LARGEST_DISTANCE + _DISTANCE_STEP * np.arange(table.shape[1])
    return np.array([np.interp(quantile, row, distance) for row in table])


def rate_quantile(view: RoundView, delay_s: FloatArray, quantile: float) -> FloatArray:
    """The rate per hertz that an upload after the delay exceeds but with probability ``quantile``, bit/s/Hz."""
    centre, unit_snr = aged_fading(view, delay_s)
    grid = _CENTRE_STEP * np.arange(len(_amplitude_table()))
    amplitude = centre + np.interp(centre, grid, _quantile_distance(quantile))
    return spectral_efficiency(unit_snr * np.square(amplitude))


def effective_acceptance(evidence: Evidence, powers: FloatArray, length: IntArray) -> FloatArray:
    """The known rate under which one more draft would be worth what it is worth under the evidence, (lanes, users)."""
    next_draft = length + 1
    power = np.take_along_axis(powers, next_draft[..., np.newaxis], axis=-1)[..., 0]
    return np.where(evidence.known, evidence.mean, power ** (1.0 / next_draft))


class _Plan(NamedTuple):
    """A decision for a batch of rounds with what follows from it.

    Attributes:
        length: Draft lengths, (lanes, users).
        share: Bandwidth shares, (lanes, users).
        arrival: The users' arrivals.
        ended: Probability that all have arrived, (lanes, instants).
        value: Expected tokens over expected seconds, (lanes,).
    """

    length: IntArray
    share: FloatArray
    arrival: Arrival
    ended: FloatArray
    value: FloatArray

    @classmethod
    def of(cls, rounds: _Round, length: IntArray, share: FloatArray) -> _Plan:
        """Evaluates a decision."""
        arrival = rounds.arrival(length, share)
        ended = np.exp(np.sum(arrival.log_probability, axis=1))
        value = np.sum(rounds.tokens(length), axis=-1) / rounds.round_s(ended)
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


class Stochastic(Controller):
    """Expected tokens over expected seconds, maximised over lengths and shares: the gold standard.

    It sees what every controller sees, and weighs what it does not know by its distribution: the fading at upload,
    which is Rician given the one observed and independent between users, so that the mean time of the slowest upload
    is an integral over a product; and the request's acceptance, of which expected tokens need the moments alone. The
    ratio of the two expectations is what tokens over seconds tend to in the long run. From the closed form's answers
    to several quantiles of the rates it improves the shares by fixed-point steps and the lengths by moves of one
    token.

    It plans no further than the round. What it misses by that is not nothing: a request that is easily accepted ends
    the sooner for a long draft, so that a controller that serves such requests well meets more of the hard ones.
    """

    name = "stochastic"

    def act(self, view: RoundView) -> Allocation:
        """The best allocation found."""
        evidence = recent_evidence(view)
        powers = acceptance_powers(evidence, view.config.max_draft_length + 1)
        if view.config.channel.fading_correlation_time_s == 0.0:
            return _for_known_rates(view, evidence, powers)
        starts = [_start(view, evidence, powers, quantile) for quantile in _START_QUANTILES]
        wait_s = np.min([latency_s for _, latency_s in starts], axis=0)
        instants = np.geomspace(_SHORTEST_WAIT, _LONGEST_WAIT, _NUM_INSTANTS)
        rounds = _Round(view=view, powers=powers, instant_s=wait_s[:, np.newaxis] * instants)
        plans = [_with_better_shares(rounds, _Plan.of(rounds, *start), _SHARE_STEPS) for start, _ in starts]
        best = plans[0]
        for plan in plans[1:]:
            best = best.or_better(plan)
        best = _with_better_lengths(rounds, best)
        return Allocation(best.length, best.share)


def _for_known_rates(view: RoundView, evidence: Evidence, powers: FloatArray) -> Allocation:
    acceptance, best_value = evidence.mean, np.full(len(powers), -np.inf)
    best = Allocation(np.ones_like(view.last_accepted), np.ones_like(evidence.mean))
    for _ in range(_START_STEPS + 1):
        problem = RoundProblem.from_view(view, acceptance_rate=acceptance)
        found = solve_heterogeneous(problem).allocation
        latency_s, _ = equalize_bandwidth(problem, found.draft_length)
        tokens = np.take_along_axis(np.cumsum(powers, axis=-1), found.draft_length[..., np.newaxis], axis=-1)
        value = np.sum(tokens[..., 0], axis=-1) / (latency_s + problem.verification_latency_s)
        better = (value > best_value)[:, np.newaxis]
        best = Allocation(*(np.where(better, new, old) for new, old in zip(found, best, strict=True)))
        best_value = np.maximum(value, best_value)
        acceptance = effective_acceptance(evidence, powers, best.draft_length)
    return best


def _start(view: RoundView, evidence: Evidence, powers: FloatArray, quantile: float) -> tuple[Allocation, FloatArray]:
    """The closed form's answer to a quantile of the rates, and the latency it expects, (lanes,)."""
    acceptance, rate = evidence.mean, view.observed_spectral_efficiency
    for _ in range(_START_STEPS):
        problem = RoundProblem.from_view(view, acceptance_rate=acceptance, spectral_efficiency=rate)
        length = solve_heterogeneous(problem).allocation.draft_length
        acceptance = effective_acceptance(evidence, powers, length)
        rate = rate_quantile(view, length * view.drafting_latency_s, quantile)
    problem = RoundProblem.from_view(view, acceptance_rate=acceptance, spectral_efficiency=rate)
    allocation = solve_heterogeneous(problem).allocation
    return allocation, equalize_bandwidth(problem, allocation.draft_length)[0]


def _with_better_shares(rounds: _Round, plan: _Plan, steps: int) -> _Plan:
    """Fixed-point steps towards shares in proportion to what a relative change of each is worth, the best kept."""
    best = current = plan
    for _ in range(steps):
        worth = np.einsum("lt,lkt->lk", rounds.weight_s * current.ended, current.arrival.slope)
        share = np.sqrt(current.share * np.maximum(worth, _TINY * np.sum(worth, axis=1, keepdims=True)))
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
        moving = (rank < at_once[active, np.newaxis]) & (promise > now.value[:, np.newaxis] * (1.0 + _LEAST_GAIN))
        length = now.length + moving * np.where(longer > shorter, 1, -1)
        share = now.share * length / now.length
        moved = _Plan.of(here, length, share / np.sum(share, axis=1, keepdims=True))
        moved = _with_better_shares(here, moved, _SHARE_STEPS_PER_MOVE)
        gained = moved.value > now.value * (1.0 + _LEAST_GAIN)
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
    longest = rounds.view.config.max_draft_length
    length = np.clip(plan.length + sign, 1, longest)
    relative = length / plan.length
    room = -np.log1p(plan.share * (relative - 1.0))
    arrival = rounds.arrival(length, plan.share * relative * np.exp(room))
    total = np.sum(plan.arrival.log_probability, axis=1, keepdims=True)
    others_slope = np.sum(plan.arrival.slope, axis=1, keepdims=True) - plan.arrival.slope
    log_ended = total - plan.arrival.log_probability + arrival.log_probability + others_slope * room[..., np.newaxis]
    before = rounds.tokens(plan.length)
    tokens = np.sum(before, axis=1, keepdims=True) - before + rounds.tokens(length)
    value = tokens / rounds.round_s(np.exp(np.minimum(log_ended, 0.0)))
    return np.where(length == plan.length, -np.inf, value)
