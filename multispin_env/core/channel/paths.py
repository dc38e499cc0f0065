"""The channels of users that move, as functions of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from multispin_env.core.equations import LN_2, FloatArray, IntArray
from multispin_env.core.records import Float32Array, PlaceArray, clarke, gauss_markov, places_passed

# Moments within a cell of an upload that can be told apart.
STEPS_PER_CELL = 16


@dataclass(frozen=True, eq=False)
class Paths:
    """What the channels of some users are made of, arrays (users,).

    Attributes:
        snr: Signal to noise ratio of one antenna without fading and shadowing, linear.
        fading_place: Where each antenna enters the record of fading, (antennas, users).
        fading_rate: Places that fading goes on in a second.
        shadowing_place: Where the user enters the record of shadowing.
        shadowing_rate: Places that shadowing goes on in a second.
        shadowing_scale: Standard deviation of the logarithm of the shadowing.
    """

    snr: Float32Array
    fading_place: PlaceArray
    fading_rate: FloatArray
    shadowing_place: PlaceArray
    shadowing_rate: FloatArray
    shadowing_scale: np.float32

    def take(self, users: IntArray) -> Self:
        """Some of the users."""
        return type(self)(
            self.snr[users],
            self.fading_place[:, users],
            self.fading_rate[users],
            self.shadowing_place[users],
            self.shadowing_rate[users],
            self.shadowing_scale,
        )

    def shadowed_snr(self, time_s: FloatArray) -> Float32Array:
        """Signal to noise ratio of one antenna without fading, at times (..., users)."""
        place = places_passed(time_s, self.shadowing_rate)
        place += self.shadowing_place
        return _shadowed(self.snr, self.shadowing_scale, place)

    def fading_power(self, time_s: FloatArray) -> Float32Array:
        """Power of the fading, added up over the antennas (maximum-ratio combining), at times (..., users)."""
        return _fading_power(places_passed(time_s, self.fading_rate), self.fading_place)

    def spectral_efficiency(self, time_s: FloatArray) -> Float32Array:
        """Rate per hertz in bit/s/Hz, at times (..., users)."""
        snr = self.fading_power(time_s)
        snr *= self.shadowed_snr(time_s)
        return efficiency(snr)

    def walk(self, start_s: FloatArray, cell_s: FloatArray) -> Walk:
        """The same channels in cells of time.

        Args:
            start_s: When each user's cells begin, (users,).
            cell_s: Their length, (users,).
        """
        step_s = cell_s / STEPS_PER_CELL
        return Walk(
            self.snr,
            self.fading_place + places_passed(start_s, self.fading_rate),
            places_passed(step_s, self.fading_rate),
            self.shadowing_place + places_passed(start_s, self.shadowing_rate),
            places_passed(step_s, self.shadowing_rate),
            self.shadowing_scale,
        )


@dataclass(frozen=True, eq=False)
class Walk:
    """Channels of some users in cells of time, arrays (users,).

    Attributes:
        snr: As in :class:`Paths`.
        fading_place: Where each antenna stands in the record of fading as the first cell begins, (antennas, users).
        fading_step: Places that fading goes on in a step, of which a cell has ``STEPS_PER_CELL``.
        shadowing_place: Where the user stands in the record of shadowing as the first cell begins.
        shadowing_step: Places that shadowing goes on in a step.
        shadowing_scale: As in :class:`Paths`.
    """

    snr: Float32Array
    fading_place: PlaceArray
    fading_step: PlaceArray
    shadowing_place: PlaceArray
    shadowing_step: PlaceArray
    shadowing_scale: np.float32

    def take(self, users: IntArray | slice) -> Self:
        """Some of the users."""
        return type(self)(
            self.snr[users],
            self.fading_place[:, users],
            self.fading_step[users],
            self.shadowing_place[users],
            self.shadowing_step[users],
            self.shadowing_scale,
        )

    def snr_at(self, step: PlaceArray, group_step: PlaceArray) -> Float32Array:
        """Signal to noise ratios, (steps, users).

        Args:
            step: When, in steps from the beginning of the first cell, (steps,), as many for each group.
            group_step: When to look up the shadowing of each group of steps, (groups,).
        """
        snr = _fading_power(step[:, np.newaxis] * self.fading_step, self.fading_place)
        place = group_step[:, np.newaxis] * self.shadowing_step
        place += self.shadowing_place
        by_group = snr.reshape(len(group_step), -1, len(self.snr))
        by_group *= _shadowed(self.snr, self.shadowing_scale, place)[:, np.newaxis]
        return snr


def _fading_power(moved: PlaceArray, start: PlaceArray) -> Float32Array:
    """Power of the fading, added up over antennas, as many places (..., users) on from (antennas, users)."""
    record = clarke()
    first, *others = (np.square(np.abs(record.at(moved + place))) for place in start)
    for power in others:
        first += power
    return first


def _shadowed(snr: Float32Array, scale: np.float32, place: PlaceArray) -> Float32Array:
    """Signal to noise ratios times the shadowing at these places of its record, (..., users)."""
    shadowed = gauss_markov().at(place)
    shadowed *= scale
    np.exp(shadowed, out=shadowed)
    shadowed *= snr
    return shadowed


def efficiency(snr: Float32Array) -> Float32Array:
    """``log2(1 + snr)`` in single precision, in place (eq. 8)."""
    np.log1p(snr, out=snr)
    snr *= np.float32(1.0 / LN_2)
    return snr
