"""Where rates come from: files of measured uplinks, and our models of users."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from multispin_env.config import (
    BlockChannelConfig,
    ChannelConfig,
    ConfigError,
    MobilityChannelConfig,
    TraceChannelConfig,
)
from multispin_env.core.channel import make_channel
from multispin_env.core.channel.uplinks import load_uplink
from multispin_env.core.equations import FloatArray
from multispin_env.core.streams import Streams
from multispin_train.channel.statistics import CELL_S, Rates

# Instants of a model that make a cell, and cells that are asked for together.
_INSTANTS = 5
_CELLS_TOGETHER = 2000
_SEED = 20260605


def measured_rates(file: str) -> Rates:
    """The rates of a packet trace or a table, as ``channel.path`` takes it.

    Raises:
        ConfigError: The file is wrong, or shorter than a second.
    """
    uplink = load_uplink(file, CELL_S)
    duration_s = float(uplink.edge_s[-1])
    if duration_s < 1.0:
        raise ConfigError(f"{file}: must last 1 s at least, got {duration_s:g} s")
    sent = np.concatenate([[0.0], np.cumsum(uplink.rate * np.diff(uplink.edge_s))])
    # Times a little over: of 1.1 s, which are 109.999 cells, 110 are wanted.
    cells = np.arange(int(duration_s / CELL_S + 1e-6) + 1) * CELL_S
    return Rates(np.diff(np.interp(cells, uplink.edge_s, sent)) / CELL_S, float(np.median(np.diff(uplink.edge_s))))


def models(config: ChannelConfig) -> dict[str, ChannelConfig]:
    """The models that a channel consists of, by name: each of the speeds by itself.

    Raises:
        ValueError: Its rates are no function of time.
    """
    if isinstance(config, MobilityChannelConfig):
        return {f"{speed:g} m/s": dataclasses.replace(config, speeds_m_s=(speed,)) for speed in config.speeds_m_s}
    if isinstance(config, TraceChannelConfig):
        return {f"trace {Path(config.path).name}": config}
    raise ValueError(
        f"scenario must be one whose channel goes on in time, got one of kind {BlockChannelConfig.kind}, which draws "
        "its rates anew in every round"
    )


def model_rates(config: ChannelConfig, users: int, duration_s: float) -> list[Rates]:
    """Rates per hertz of some users of a model, bit/s/Hz."""
    channel = make_channel(config, users, 1)
    channel.reset(Streams([np.random.default_rng(_SEED)]))
    last = int(duration_s / CELL_S + 1e-6)
    parts = []
    for first in range(0, last, _CELLS_TOGETHER):
        instants = (np.arange(_INSTANTS * first, _INSTANTS * min(first + _CELLS_TOGETHER, last)) + 0.5) / _INSTANTS
        rates = channel.spectral_efficiency_at(CELL_S * instants[:, np.newaxis, np.newaxis], np.arange(1))
        parts.append(rates[:, 0].reshape(-1, _INSTANTS, users).mean(axis=1))
    cells: FloatArray = np.concatenate(parts)
    return [Rates(user, 0.0) for user in cells.T]
