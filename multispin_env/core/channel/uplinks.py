"""Files of measured uplinks: packet traces and tables of rates."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from multispin_env.config import ConfigError, shown
from multispin_env.core.equations import FloatArray
from multispin_env.files import read_text

# Packets are counted in windows of this length: a packet by itself has no rate.
PACKET_WINDOW_S = 0.02
_PACKET_BITS = 8.0 * 1500.0
_MOST_DIGITS = 8
_HEADER = ["time_s", "rate"]


@dataclass(frozen=True, eq=False)
class Uplink:
    """A rate over time, constant from edge to edge.

    Attributes:
        edge_s: Where rates begin, from 0, and where the last one ends, (rates + 1,).
        rate: In the file's unit; bit/s of packet traces, (rates,).
    """

    edge_s: FloatArray
    rate: FloatArray

    @property
    def mean(self) -> float:
        """Mean rate."""
        return float(np.average(self.rate, weights=np.diff(self.edge_s)))


@lru_cache(maxsize=4)
def load_uplink(path: str, packet_window_s: float = PACKET_WINDOW_S) -> Uplink:
    """Reads a packet trace, or a table if the file's name ends in ``.csv``; ``example`` is the shipped table.

    Args:
        path: The file.
        packet_window_s: As :func:`read_packets` takes it; says nothing for tables.

    Raises:
        ConfigError: There is no such file, or a line of it is wrong; the message names the line and what is allowed.
    """
    if path == "example":
        text = resources.files("multispin_env.core.channel").joinpath("example.csv").read_text(encoding="utf-8")
        return read_rates(text, "example.csv")
    text = read_text(path)
    return read_rates(text, path) if path.lower().endswith(".csv") else read_packets(text, path, packet_window_s)


def read_packets(text: str, name: str, window_s: float = PACKET_WINDOW_S) -> Uplink:
    """A packet trace: in each line the time in whole milliseconds, never falling, at which a packet can leave.

    Mahimahi's format. The trace ends with the window of the last packet.

    Args:
        text: What the file holds.
        name: What messages call it.
        window_s: Packets are counted in windows of this length, whole milliseconds.

    Raises:
        ConfigError: A line is wrong.
    """
    times, last = [], 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        digits = line.strip()
        if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
            raise ConfigError(
                f"{name}: line {number}: must be a time in whole milliseconds of at most {_MOST_DIGITS} digits, "
                f"got {shown(line)}"
            )
        time = int(line)
        if time < last:
            raise ConfigError(f"{name}: line {number}: times must not fall, got {time} after {last}")
        times.append(time)
        last = time
    if not times:
        raise ConfigError(f"{name}: must hold a time in milliseconds in each line, got no line")
    packets = np.bincount(np.array(times) // round(1000.0 * window_s))
    edge_s = window_s * np.arange(len(packets) + 1, dtype=np.float64)
    return Uplink(edge_s, packets.astype(np.float64) * (_PACKET_BITS / window_s))


def read_rates(text: str, name: str) -> Uplink:
    """A table ``time_s,rate``: in each line when a rate begins to hold; the last line ends the last rate.

    Args:
        text: What the file holds.
        name: What messages call it.

    Raises:
        ConfigError: The header or a line is wrong, times do not rise, or no rate is above 0.
    """
    lines = [(number, line) for number, line in enumerate(csv.reader(text.splitlines()), start=1) if line]
    header = lines[0][1] if lines else []
    if [cell.strip() for cell in header] != _HEADER:
        raise ConfigError(f"{name}: line 1: must be the header {','.join(_HEADER)}, got {shown(','.join(header))}")
    times: list[float] = []
    rates: list[float] = []
    for number, cells in lines[1:]:
        try:
            time, rate = (float(cell) for cell in cells)
        except ValueError:
            raise ConfigError(
                f"{name}: line {number}: must be two numbers, time_s,rate, got {shown(','.join(cells))}"
            ) from None
        if not (np.isfinite(time) and abs(time) <= 1e9 and (not times or time > times[-1])):
            raise ConfigError(f"{name}: line {number}: times must be finite and rise, got {shown(cells[0])}")
        if not 0.0 <= rate <= 1e15:
            raise ConfigError(f"{name}: line {number}: a rate must be in [0, 1e15], got {shown(cells[1])}")
        times.append(time)
        rates.append(rate)
    if len(times) < 2 or not any(rates[:-1]):
        raise ConfigError(f"{name}: must have at least two lines below the header, and a rate above 0 but in the last")
    return Uplink(np.array(times) - times[0], np.array(rates[:-1]))
