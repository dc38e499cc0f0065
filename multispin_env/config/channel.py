"""The channel's section of the configuration, of one kind or another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multispin_env.config.validation import (
    Checked,
    ConfigError,
    check_number,
    check_text,
    from_mapping,
    real,
    shown,
    whole,
)

_SPEED = real(0.0, 100.0).metadata


class ChannelSection(Checked):
    """A section with a field ``kind``, which names its class in ``CHANNEL_CONFIGS``."""

    kind: str

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = type(self).kind
        if self.kind != kind:
            raise ConfigError(f"{type(self).__name__}.kind must be {kind!r}, got {shown(self.kind)}")


@dataclass(frozen=True, kw_only=True)
class FadingChannelConfig(ChannelSection):
    """What channels have in common whose gain is path gain x fading.

    Attributes:
        power_to_noise: Transmit power over noise power p/N0, linear: the signal to noise ratio at unit gain (eq. 8).
        path_gain_low: Lower end of the uniform distribution of a user's path gain, drawn once an episode.
        path_gain_high: Its upper end.
    """

    power_to_noise: float = real(1e-6, 1e20)
    path_gain_low: float = real(1e-20, 1e6, default=0.2)
    path_gain_high: float = real(1e-20, 1e6, default=0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path_gain_high < self.path_gain_low:
            raise ConfigError(
                f"{type(self).__name__}.path_gain_high must be at least path_gain_low={self.path_gain_low:g}, "
                f"got {self.path_gain_high!r}"
            )

    @property
    def average_spectral_efficiency(self) -> float:
        """That of an average user, at the mean path gain, bit/s/Hz."""
        return math.log1p(self.power_to_noise * 0.5 * (self.path_gain_low + self.path_gain_high)) / math.log(2.0)


@dataclass(frozen=True, kw_only=True)
class BlockChannelConfig(FadingChannelConfig):
    """The paper's channel: Rayleigh fading, independent in every round, constant within it, and known."""

    kind: str = "block"


@dataclass(frozen=True, kw_only=True)
class MobilityChannelConfig(FadingChannelConfig):
    """Users that move: the gain is path gain x shadowing x Rayleigh fading, all in real time.

    Attributes:
        carrier_frequency_hz: Carrier frequency f_c. A user at speed v has the largest Doppler shift ``v f_c / c``.
        speeds_m_s: Speeds, of which each user draws one, uniformly, at the start of an episode.
        shadowing_std_db: Standard deviation of log-normal shadowing.
        shadowing_decorrelation_m: Distance over which its autocorrelation falls to 1/e (Gudmundson's model).
        receive_antennas: Antennas of the server's, fading independently, whose signal to noise ratios add up
            (maximum-ratio combining). ``power_to_noise`` is that of one: so many antennas have so many times its mean.
        doppler_known: Whether the server's estimate of each user's Doppler shift is revealed.
    """

    kind: str = "mobility"
    carrier_frequency_hz: float = real(1e6, 1e11, default=3.5e9)
    speeds_m_s: tuple[float, ...] = (0.01, 0.1, 1.4)
    shadowing_std_db: float = real(0.0, 20.0, default=8.0)
    shadowing_decorrelation_m: float = real(1e-3, 1e9, default=13.0)
    receive_antennas: int = whole(1, 64, default=1)
    doppler_known: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        name, speeds = f"{type(self).__name__}.speeds_m_s", self.speeds_m_s
        if not isinstance(speeds, Sequence) or isinstance(speeds, str) or not speeds:
            raise ConfigError(f"{name} must be a non-empty list of speeds, got {shown(speeds)}")
        checked = (check_number(f"{name}[{place}]", speed, _SPEED) for place, speed in enumerate(speeds))
        object.__setattr__(self, "speeds_m_s", tuple(map(float, checked)))
        if not isinstance(self.doppler_known, bool):
            raise ConfigError(
                f"{type(self).__name__}.doppler_known must be True or False, got {shown(self.doppler_known)}"
            )


@dataclass(frozen=True, kw_only=True)
class TraceChannelConfig(ChannelSection):
    """A measured uplink, replayed: each user begins at a place of its own in the file, which goes round and round.

    Attributes:
        path: The file. A packet trace has a line for each packet that can leave, its time in whole milliseconds
            (Mahimahi's format); a table, ``.csv``, has the header ``time_s,rate`` and in each line when a rate begins
            to hold, in any unit of rate; the last line ends the last rate. ``example`` is a synthetic table that comes
            with the package.
        mean_spectral_efficiency: What the mean rate of the file is scaled to, bit/s/Hz.
    """

    kind: str = "trace"
    path: str = "example"
    mean_spectral_efficiency: float = real(1e-6, 1e3, default=5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(f"{type(self).__name__}.path", self.path)

    @property
    def average_spectral_efficiency(self) -> float:
        """That of an average user, bit/s/Hz."""
        return self.mean_spectral_efficiency


ChannelConfig = BlockChannelConfig | MobilityChannelConfig | TraceChannelConfig

# From a channel's kind to its section of the configuration.
CHANNEL_CONFIGS: dict[str, type[ChannelConfig]] = {
    "block": BlockChannelConfig,
    "mobility": MobilityChannelConfig,
    "trace": TraceChannelConfig,
}


def channel_config(values: ChannelConfig | Mapping[str, Any]) -> ChannelConfig:
    """The channel's section of the kind that the mapping names, ``block`` if it names none.

    Raises:
        ConfigError: The kind is unknown, or a field is unknown, missing or out of range.
    """
    kind = values.get("kind", "block") if isinstance(values, Mapping) else getattr(values, "kind", "block")
    if not isinstance(kind, str) or kind not in CHANNEL_CONFIGS:
        raise ConfigError(f"channel.kind must be one of {', '.join(CHANNEL_CONFIGS)}, got {shown(kind)}")
    return from_mapping(CHANNEL_CONFIGS[kind], values, "channel")
