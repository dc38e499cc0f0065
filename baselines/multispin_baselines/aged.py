"""Uploads in aged fading: when drafts arrive, given the fading observed at the start of the round."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

import numpy as np
from scipy import special

from multispin_env import Allocation, RoundView
from multispin_env.core.equations import (
    LN_2,
    FloatArray,
    IntArray,
    signal_to_noise_ratio,
    spectral_efficiency,
    token_verification_s,
)

# A rate in nats that no channel carries, and the least probability that logarithms are taken of.
_UNREACHABLE = 60.0
_TINY = 1e-12
# Least share of the fading's power that is new after a delay: of users that hardly move it is next to nothing.
_LEAST_INNOVATION = 1e-4
# Doppler shift of users whose own is not known, Hz: that of a phone in the hand of somebody who sits.
ASSUMED_DOPPLER_HZ = 1.2

# Tabulated distribution of a Rician amplitude: steps of the noncentrality and of the distance from it.
_CENTRE_STEP, _LARGEST_CENTRE = 0.1, 30.0
_DISTANCE_STEP, _LARGEST_DISTANCE = 0.05, 7.0


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
class Uploads:
    """A batch of rounds in aged fading, and the instants at which their ends are weighed.

    Attributes:
        view: The rounds.
        instant_s: Instants, ascending, (lanes, instants). The last one cuts off the wait, which has no finite mean.
    """

    view: RoundView
    instant_s: FloatArray

    def take(self, lanes: IntArray) -> Self:
        """Some of the rounds."""
        return dataclasses.replace(self, view=self.view.take(lanes), instant_s=self.instant_s[lanes])

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

    def round_s(self, ended: FloatArray, drafted: IntArray) -> FloatArray:
        """Mean duration of the round, its wait cut off at the last instant.

        Args:
            ended: Probability that all have arrived by each instant, (lanes, ..., instants).
            drafted: Tokens that all users draft together, (lanes, ...).

        Returns:
            Seconds, (lanes, ...).
        """
        between = (slice(None), *(np.newaxis,) * (ended.ndim - 2))
        waited_s = np.sum(self.weight_s[between] * (1.0 - ended), axis=-1)
        config = self.view.config
        verification_s = config.verification_latency_s + token_verification_s(
            drafted + config.num_users, config.verification_per_token_s, config.verification_free_tokens
        )
        return self.instant_s[:, 0][between] + waited_s + verification_s


def expected_round_s(view: RoundView, allocation: Allocation, instant_s: FloatArray) -> FloatArray:
    """Mean duration of a round in aged fading given what is known at its start, (lanes,).

    Args:
        view: The rounds.
        allocation: The decisions.
        instant_s: Instants at which to weigh the round's end, ascending, (instants,); the last one cuts off the wait.
    """
    lanes = len(view.drafting_latency_s)
    uploads = Uploads(view=view, instant_s=np.broadcast_to(instant_s, (lanes, len(instant_s))))
    arrival = uploads.arrival(allocation.draft_length, allocation.bandwidth_share)
    ended = np.exp(np.sum(arrival.log_probability, axis=1))
    return uploads.round_s(ended, np.sum(allocation.draft_length, axis=1))


def aged_fading(view: RoundView, delay_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the fading at upload is distributed as, given the one observed: a Rician amplitude.

    Args:
        view: The round.
        delay_s: Time from the observation to the upload, (lanes, users).

    Returns:
        The amplitude's centre, in standard deviations of either of its two Gaussian parts, and the signal to noise
        ratio at an amplitude of one such deviation, both (lanes, users).
    """
    correlation = fading_correlation(view, delay_s)
    mean_snr = signal_to_noise_ratio(view.long_term_spectral_efficiency)
    power = signal_to_noise_ratio(view.observed_spectral_efficiency) / mean_snr
    variance = 0.5 * np.maximum(1.0 - np.square(correlation), _LEAST_INNOVATION)
    return np.abs(correlation) * np.sqrt(power / variance), mean_snr * variance


def fading_correlation(view: RoundView, delay_s: FloatArray) -> FloatArray:
    """Autocorrelation of the fading coefficient over delays, ``J0(2 pi f_d delay)`` (Clarke), (lanes, users)."""
    doppler_hz = view.doppler_hz if view.doppler_known else ASSUMED_DOPPLER_HZ
    return special.j0(2.0 * np.pi * doppler_hz * delay_s)


@lru_cache
def _quantile_offset(quantile: float) -> tuple[FloatArray, FloatArray]:
    """Distance of the amplitude's quantile from its centre, over the centre; it tends to a constant.

    The square of the amplitude is noncentral chi-square with two degrees of freedom.
    """
    centre = np.linspace(0.0, 60.0, 1201)
    return centre, np.sqrt(special.chndtrix(quantile, 2.0, centre * centre)) - centre


def rate_quantile(view: RoundView, delay_s: FloatArray, quantile: float) -> FloatArray:
    """The rate per hertz that an upload after the delay exceeds but with probability ``quantile``, bit/s/Hz."""
    centre, unit_snr = aged_fading(view, delay_s)
    amplitude = centre + np.interp(centre, *_quantile_offset(quantile))
    return spectral_efficiency(unit_snr * np.square(amplitude))
