"""Futures of the users' channels that are as likely as each other given a view, and when uploads end in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
from scipy import spatial, special

from multispin_env import RoundView
from multispin_env.config import ChannelConfig, MobilityChannelConfig, TraceChannelConfig
from multispin_env.core.channel import make_channel
from multispin_env.core.channel.mobility import doppler_hz
from multispin_env.core.equations import FloatArray, IntArray, signal_to_noise_ratio, spectral_efficiency
from multispin_env.core.records import PlaceArray, clarke, gauss_markov, places_passed
from multispin_env.core.streams import Streams

_CELLS = 128
# Places of a measured uplink among which those are looked for that resemble a view.
_PLACES = 8192


class Arrivals(NamedTuple):
    """When drafts have arrived, (rounds, users, samples).

    Attributes:
        time_s: Since the round's start.
        by_share_s: How much earlier it would be for a relative change of the user's share of the band.
    """

    time_s: FloatArray
    by_share_s: FloatArray


@dataclass(frozen=True, eq=False)
class Futures:
    """What users' bands may carry from the start of a round on, by cells of time with a constant rate.

    Each user has samples of its own, independent of the other users'. Behind the last cell a path goes on with its
    mean rate.

    Attributes:
        cell_s: Length of a cell, (rounds, 1).
        rate: Spectral efficiencies in bit/s/Hz, (rounds, users, samples, cells + 1); behind the last cell the mean.
        carried: Their integrals until each cell begins, bit/Hz, the same shape.
    """

    cell_s: FloatArray
    rate: FloatArray
    carried: FloatArray

    @classmethod
    def sampled(cls, view: RoundView, samples: int, reach_s: FloatArray) -> Self:
        """Futures of what is seen, drawn from the model of the channel; the random numbers are always the same.

        Args:
            view: The rounds; what is observed has to be outdated.
            samples: Futures of each user.
            reach_s: How far cells reach, (rounds, 1).
        """
        channel = view.config.channel
        if isinstance(channel, MobilityChannelConfig):
            cell_s = reach_s / _CELLS
            middle_s = cell_s * (np.arange(_CELLS) + 0.5)
            rate = _faded(view, channel, samples, middle_s)
        elif isinstance(channel, TraceChannelConfig):
            cell_s, rate = _analogs(view, channel, samples, float(np.max(reach_s)))
        else:
            raise ValueError(f"channel.kind must be mobility or trace where CSI is {view.csi}, got {channel.kind!r}")
        carried = np.zeros((*rate.shape[:-1], _CELLS + 1))
        np.cumsum(cell_s[:, :, np.newaxis, np.newaxis] * rate, axis=-1, out=carried[..., 1:])
        return cls(cell_s, np.concatenate([rate, np.mean(rate, axis=-1, keepdims=True)], axis=-1), carried)

    def take(self, rounds: IntArray) -> Self:
        """Those of some rounds."""
        return type(self)(self.cell_s[rounds], self.rate[rounds], self.carried[rounds])

    def arrivals(self, drafting_s: FloatArray, load: FloatArray) -> Arrivals:
        """When uploads end: each begins when the draft is ready and ends when all is sent.

        Args:
            drafting_s: When each draft is ready, (rounds, users).
            load: What it has to send over its band, bit/Hz, (rounds, users).
        """
        cell = np.minimum((drafting_s / self.cell_s).astype(np.int64), _CELLS)
        before_s = (drafting_s - cell * self.cell_s)[..., np.newaxis]
        at_cell = cell[..., np.newaxis, np.newaxis]
        ready = self._of(self.carried, at_cell) + self._of(self.rate, at_cell) * before_s
        target = ready + load[..., np.newaxis]
        last = np.sum(self.carried <= target[..., np.newaxis], axis=-1, keepdims=True) - 1
        rate = np.maximum(self._of(self.rate, last), 1e-9)
        time_s = last[..., 0] * self.cell_s[..., np.newaxis] + (target - self._of(self.carried, last)) / rate
        return Arrivals(time_s, load[..., np.newaxis] / rate)

    @staticmethod
    def _of(values: FloatArray, cell: IntArray) -> FloatArray:
        cell = np.broadcast_to(cell, (*values.shape[:-1], 1))
        return np.take_along_axis(values, cell, axis=-1)[..., 0]


def _faded(view: RoundView, channel: MobilityChannelConfig, samples: int, time_s: FloatArray) -> FloatArray:
    """Rates of mobile users at times (rounds, cells), (rounds, users, samples, cells).

    Paths of a Gaussian process given its value now are paths ``g`` drawn without regard to it, moved by the regression
    on the error that they have now: ``g(t) + correlation(t) (value - g(0))`` (Matheron's rule). Of the fading the power
    is known; its phase, and how it is split between antennas, make no difference to what follows.
    """
    users, rng = view.config.num_users, np.random.default_rng(0)
    time_s = time_s[:, np.newaxis, np.newaxis, :]
    doppler = _doppler_hz(view, channel, samples, rng)[..., np.newaxis]
    shape = users, samples, 1
    mean_snr = signal_to_noise_ratio(view.long_term_spectral_efficiency) / channel.receive_antennas
    amplitude = np.sqrt(signal_to_noise_ratio(view.observed_spectral_efficiency) / mean_snr)[:, :, np.newaxis]

    moved = places_passed(time_s, doppler * clarke().places_per_unit)
    remembered = special.j0(2.0 * np.pi * doppler * time_s).astype(np.float32)
    power = np.zeros((*moved.shape[:2], samples, moved.shape[-1]), dtype=np.float32)
    for antenna in range(channel.receive_antennas):
        place = _any_places(rng, shape)
        innovation = clarke().at(place + moved) - remembered * clarke().at(place)
        now = amplitude[..., np.newaxis] if antenna == 0 else np.zeros((1, 1, 1, 1))
        power += np.square(np.abs(remembered * now + innovation))

    scale = 0.1 * np.log(10.0) * channel.shadowing_std_db
    decay = doppler / doppler_hz(channel, np.array(channel.shadowing_decorrelation_m))  # v / d_corr
    place = _any_places(rng, shape)
    kept = np.exp(-decay * time_s)
    shadowing = gauss_markov().at(place + places_passed(time_s, decay * gauss_markov().places_per_unit))
    innovation = shadowing - kept * gauss_markov().at(place)
    typical_snr = channel.power_to_noise * 0.5 * (channel.path_gain_low + channel.path_gain_high)
    back = (1.0 - kept) * np.log(typical_snr / mean_snr)[..., np.newaxis, np.newaxis] if scale > 0.0 else 0.0
    snr = mean_snr[..., np.newaxis, np.newaxis] * np.exp(scale * innovation + back)
    return spectral_efficiency(power * snr)


def _doppler_hz(view: RoundView, channel: MobilityChannelConfig, samples: int, rng: np.random.Generator) -> FloatArray:
    """Doppler shifts of users, (rounds, users, 1), or where they are not known drawn, (1, users, samples)."""
    if view.doppler_known:
        return view.doppler_hz[..., np.newaxis]
    speeds = np.array(channel.speeds_m_s)[np.arange(samples) % len(channel.speeds_m_s)]
    return doppler_hz(channel, rng.permuted(np.tile(speeds, (1, view.config.num_users, 1)), axis=-1))


def _any_places(rng: np.random.Generator, shape: tuple[int, ...]) -> PlaceArray:
    return rng.integers(0, 2**32, shape, dtype=np.uint32)


def _analogs(
    view: RoundView, channel: TraceChannelConfig, samples: int, reach_s: float
) -> tuple[FloatArray, FloatArray]:
    """What followed at those places of the file where the rates were most like those seen; see :func:`_faded`."""
    # Powers of 2, so that few tables are made.
    cell_s = 2.0 ** np.ceil(np.log2(reach_s / _CELLS))
    tree, rate = _places_of(channel, cell_s)
    seen = np.stack([view.observed_spectral_efficiency, view.long_term_spectral_efficiency], axis=-1)
    _, place = tree.query(np.log(seen), k=samples)
    return np.full((len(seen), 1), cell_s), rate[place]


@lru_cache(maxsize=16)
def _places_of(channel: ChannelConfig, cell_s: float) -> tuple[spatial.cKDTree, FloatArray]:
    """Places of the file by the logarithms of the two rates seen there, and the rates that follow, (places, cells)."""
    uplink = make_channel(channel, _PLACES, 1)
    uplink.reset(Streams([np.random.default_rng(0)]))
    uplink.begin_round(np.zeros((1, 1)))
    seen = np.stack([uplink.observed_spectral_efficiency[0], uplink.long_term_spectral_efficiency[0]], axis=-1)
    middle_s = cell_s * (np.arange(_CELLS) + 0.5)
    rate = uplink.spectral_efficiency_at(middle_s[:, np.newaxis, np.newaxis], np.array([0]))[:, 0]
    return spatial.cKDTree(np.log(seen)), np.ascontiguousarray(rate.T)
