"""Pictures of a user's channel and of one upload under way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multispin_env import Simulator, SystemConfig
from multispin_env.config import MobilityChannelConfig
from multispin_env.core import Allocation
from multispin_env.core.channel import make_channel
from multispin_env.core.equations import FloatArray
from multispin_env.core.streams import Streams
from multispin_env.evaluation.plots import BLUE, GREY, new_figure, save
from multispin_train.channel.picture import MODEL_INKS

_SHOWN_S = 20.0
_STEP_S = 0.002
_SEED = 3
# The upload that is shown: the first whose rate, held as it was, would have taken so many times as long.
_OVERESTIMATE = (2.5, 4.0)
_DRAFT_LENGTH = 8
_FROZEN_INK, _LIVE_INK = GREY, BLUE


def draw_channel(path: Path, config: SystemConfig) -> None:
    """Draws twenty seconds of a user's rate per hertz at each of the speeds, instantaneous and long-term."""
    assert isinstance(config.channel, MobilityChannelConfig)
    speeds = config.channel.speeds_m_s
    figure, panels = new_figure(9.6, 1.9 * len(speeds), rows=len(speeds))
    times = _STEP_S * np.arange(round(_SHOWN_S / _STEP_S) + 1)
    for panel, speed, ink in zip(panels, speeds, MODEL_INKS, strict=False):
        channel = make_channel(dataclasses.replace(config.channel, speeds_m_s=(speed,)), 1, 1)
        channel.reset(Streams([np.random.default_rng(_SEED)]))
        rates = channel.spectral_efficiency_at(times[:, np.newaxis, np.newaxis], np.arange(1))[:, 0, 0]
        long_term = []
        for time_s in times[::50]:
            channel.begin_round(np.array([[time_s]]))
            long_term.append(float(channel.long_term_spectral_efficiency[0, 0]))
        panel.plot(times, rates, color=ink, linewidth=0.8, label="instantaneous")
        panel.plot(times[::50], long_term, color="black", linewidth=1.6, label="long-term")
        panel.set_xlim(0.0, _SHOWN_S)
        panel.set_ylim(0.0, 1.25 * max(rates.max(), max(long_term)))
        panel.set_title(f"{speed:g} m/s, Doppler shift {channel.doppler_hz[0, 0]:.2g} Hz", loc="left", fontsize=10)
        panel.legend(loc="upper right", ncols=2, fontsize=8, frameon=False)
        panel.tick_params(labelbottom=panel is panels[-1])
    panels[-1].set_xlabel("time, s")
    panels[len(panels) // 2].set_ylabel("rate per hertz, bit/s/Hz")
    save(figure, path)


@dataclass(frozen=True)
class Upload:
    """One upload under way, of a walking user with an equal share of the band.

    Attributes:
        bits: What it has to send.
        bandwidth_hz: Over which band.
        frozen_s: How long it would take at the rate that was seen at the start of the round.
        live_s: How long it takes.
        seen: The rate that was seen, bit/s/Hz.
        time_s: Times since the upload's beginning.
        rate: Rates per hertz then, bit/s/Hz.
    """

    bits: float
    bandwidth_hz: float
    frozen_s: float
    live_s: float
    seen: float
    time_s: FloatArray
    rate: FloatArray


def find_upload(config: SystemConfig) -> Upload:
    """The first upload in which a fade that was seen has gone by, among those of a user at the highest speed.

    Raises:
        ValueError: Fades do not go by in this system.
    """
    speed = max(config.channel.speeds_m_s)  # type: ignore[union-attr]
    config = config.updated({"channel": {"speeds_m_s": [speed]}})
    shape = 1, config.num_users
    simulator = Simulator(config, 1)
    simulator.reset([np.random.default_rng(_SEED)])
    equal = Allocation(np.full(shape, min(_DRAFT_LENGTH, config.max_draft_length)), np.full(shape, 1.0 / shape[1]))
    for _ in range(config.episode_rounds):
        view = simulator.true_view()
        outcome = simulator.step(equal)
        bits = float(equal.draft_length[0, 0]) * config.payload_bits
        bandwidth_hz = config.bandwidth_hz / shape[1]
        frozen_s = bits / bandwidth_hz / view.observed_spectral_efficiency[0]
        ratio = frozen_s / outcome.upload_s[0]
        found = np.flatnonzero((ratio > _OVERESTIMATE[0]) & (ratio < _OVERESTIMATE[1]))
        if found.size:
            user = int(found[0])
            live_s = float(outcome.upload_s[0, user])
            time_s = np.linspace(0.0, 1.25 * float(frozen_s[user]), 1200)
            begin_s = view.time_s[0, 0] + outcome.drafting_s[0, user]
            rates = view.spectral_efficiency_at((begin_s + time_s)[:, np.newaxis, np.newaxis])[:, 0, user]
            seen = float(view.observed_spectral_efficiency[0, user])
            return Upload(bits, bandwidth_hz, float(frozen_s[user]), live_s, seen, time_s, rates)
    raise ValueError("no upload of this system takes much less time than the rate that was seen would have it")


def draw_upload(path: Path, upload: Upload) -> None:
    """Draws an upload's rate over time, and what it has sent."""
    to_mbit = upload.bandwidth_hz / 1e6
    figure, (above, below) = new_figure(9.6, 5.0, rows=2)
    sending = upload.time_s <= upload.live_s
    times_ms = 1e3 * upload.time_s
    above.plot(times_ms, to_mbit * upload.rate, color=_LIVE_INK, alpha=0.35, linewidth=1.0)
    above.plot(times_ms[sending], to_mbit * upload.rate[sending], color=_LIVE_INK, label="as the channel goes on")
    above.axhline(to_mbit * upload.seen, color=_FROZEN_INK, linestyle="--", label="as seen when the round began")
    above.fill_between(times_ms[sending], to_mbit * upload.rate[sending], color=_LIVE_INK, alpha=0.15, linewidth=0)
    above.set_ylabel("rate, Mbit/s")
    above.set_ylim(0.0, 1.35 * to_mbit * float(upload.rate.max()))
    above.legend(loc="upper right", ncols=2, fontsize=9, frameon=False)

    step_s = np.diff(upload.time_s, prepend=0.0)
    before = np.concatenate([upload.rate[:1], upload.rate[:-1]])
    sent = upload.bandwidth_hz * np.cumsum(0.5 * (before + upload.rate) * step_s)
    below.plot(times_ms[sending], sent[sending] / 1e3, color=_LIVE_INK)
    below.plot([0.0, 1e3 * upload.frozen_s], [0.0, upload.bits / 1e3], color=_FROZEN_INK, linestyle="--")
    below.axhline(upload.bits / 1e3, color="black", linewidth=1.0)
    target = upload.bits / 1e3
    above_line: dict[str, Any] = {"textcoords": "offset points", "xytext": (5, 6)}
    below.annotate(f"{target:.0f} kbit to send", (0.0, target), **above_line)
    for name, seconds, ink in (("ends", upload.live_s, _LIVE_INK), ("by eq. 9", upload.frozen_s, _FROZEN_INK)):
        below.plot([1e3 * seconds], [target], "o", color=ink)
        below.annotate(f"{name} after {1e3 * seconds:.0f} ms", (1e3 * seconds, target), **above_line, color=ink)
    below.set_ylim(0.0, 1.2 * upload.bits / 1e3)
    below.set_ylabel("sent, kbit")
    below.set_xlabel("time since the upload began, ms")
    for panel in (above, below):
        panel.set_xlim(0.0, times_ms[-1])
    save(figure, path)
