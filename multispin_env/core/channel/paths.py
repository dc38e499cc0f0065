"""The channels of users that move, as functions of time."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from multispin_env.core.equations import LN_2, FloatArray, IntArray
from multispin_env.core.records import Float32Array, PlaceArray, clarke, gauss_markov, places_passed

# Moments within a cell of an upload that can be told apart.
STEPS_PER_CELL = 16

# As arrays: a Python number takes NumPy as long as the operation on a few users.
_CELLS_PER_STEP = np.array(1.0 / STEPS_PER_CELL)
_PER_LN_2 = np.array(1.0 / LN_2, dtype=np.float32)


class Paths(NamedTuple):
    """What the channels of some users are made of.

    Each user goes along one path in the record of shadowing and one for each antenna in that of fading.

    Attributes:
        snr: Signal to noise ratio of one antenna without fading and shadowing, linear, (users,).
        place: Where paths enter their records, the first row that of shadowing, (1 + antennas, users).
        rate: Places that they go on in a second, (1 + antennas, users).
        shadowing_scale: Standard deviation of the logarithm of the shadowing.
    """

    snr: Float32Array
    place: PlaceArray
    rate: FloatArray
    shadowing_scale: np.float32

    def take(self, users: IntArray) -> Self:
        """Some of the users."""
        place, rate = self.place.take(users, axis=1), self.rate.take(users, axis=1)
        return type(self)(self.snr.take(users), place, rate, self.shadowing_scale)

    def snr_at(self, time_s: FloatArray) -> tuple[Float32Array, Float32Array]:
        """One antenna's signal to noise ratio without fading, and the antennas' fading powers added up.

        Args:
            time_s: (..., users).
        """
        place = places_passed(time_s[..., np.newaxis, :], self.rate)
        place += self.place
        return _shadowed(self.snr, self.shadowing_scale, place[..., 0, :]), _power(place[..., 1:, :])

    def walk(self, start_s: FloatArray, cell_s: FloatArray) -> Walk:
        """The same channels in cells of time.

        Args:
            start_s: When each user's cells begin, (users,).
            cell_s: Their length, (users,).
        """
        moments_s = np.array([start_s, cell_s * _CELLS_PER_STEP])
        place, step = places_passed(moments_s[:, np.newaxis], self.rate)
        place += self.place
        return Walk(self.snr, place, step, self.shadowing_scale)


class Walk(NamedTuple):
    """Channels of some users in cells of time.

    Attributes:
        snr: As in :class:`Paths`.
        place: Where paths stand in their records as the first cell begins, rows as in :class:`Paths`.
        step: Places that they go on in a step, of which a cell has ``STEPS_PER_CELL``, (1 + antennas, users).
        shadowing_scale: As in :class:`Paths`.
    """

    snr: Float32Array
    place: PlaceArray
    step: PlaceArray
    shadowing_scale: np.float32

    def take(self, users: IntArray) -> Self:
        """Some of the users."""
        place, step = self.place.take(users, axis=1), self.step.take(users, axis=1)
        return type(self)(self.snr.take(users), place, step, self.shadowing_scale)

    def between(self, first: int, last: int) -> Self:
        """The users from the first to before the last."""
        some = slice(first, last)
        return type(self)(self.snr[some], self.place[:, some], self.step[:, some], self.shadowing_scale)

    def snr_at(self, step: PlaceArray, group_step: PlaceArray) -> Float32Array:
        """Signal to noise ratios, (steps, users).

        Args:
            step: When, in steps from the beginning of the first cell, (steps, 1), as many for each group.
            group_step: When to look up the shadowing of each group of steps, (groups, 1).
        """
        shadowing = group_step * self.step[0] + self.place[0]
        fading = step[..., np.newaxis] * self.step[1:]
        fading += self.place[1:]
        snr = _power(fading)
        by_group = snr.reshape(len(group_step), -1, len(self.snr))
        by_group *= _shadowed(self.snr, self.shadowing_scale, shadowing)[:, np.newaxis]
        return snr


def _power(place: PlaceArray) -> Float32Array:
    """Power of the fading at places (..., antennas, users) of its record, added up over antennas, (..., users)."""
    power = np.abs(clarke().at(place))
    power *= power
    return power[..., 0, :] if power.shape[-2] == 1 else power.sum(axis=-2)


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
    snr *= _PER_LN_2
    return snr
