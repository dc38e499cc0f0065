"""Everything that defines a system: frozen, validated, to and from a plain dict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from multispin_env.config.sections import ChannelConfig, HeatConfig, RequestConfig
from multispin_env.config.validation import Checked, ConfigError, from_mapping, real, shown, whole


@dataclass(frozen=True, kw_only=True)
class SystemConfig(Checked):
    """Everything that defines a Multi-SPIN system.

    Attributes:
        num_users: Users that share the band and the verification batch, K.
        bandwidth_hz: Uplink bandwidth, B.
        payload_bits: Bits to upload per drafted token, Q_tok (eq. 9).
        max_draft_length: Longest draft, L_max.
        verification_fixed_s: T_fix of eq. 7.
        verification_per_user_s: T_lin of eq. 7.
        drafting_latency_s: Time a rested device takes to draft one token, the mean over users of T^S.
        drafting_latency_spread: Users' latencies are uniform within this fraction around the mean.
        episode_rounds: Rounds in an episode.
        channel: The uplink channel.
        requests: Tasks, acceptance and length of requests.
        heat: Thermal behaviour of the devices.
    """

    num_users: int = whole(1, 100_000, default=20)
    bandwidth_hz: float = real(1.0, 1e12, default=10e6)
    payload_bits: float = real(1.0, 1e9)
    max_draft_length: int = whole(1, 10_000, default=25)
    verification_fixed_s: float = real(0.0, 1e4)
    verification_per_user_s: float = real(1e-9, 1e4)
    drafting_latency_s: float = real(1e-6, 1e4)
    drafting_latency_spread: float = real(0.0, 0.99, default=0.15)
    episode_rounds: int = whole(1, 10_000_000, default=200)
    channel: ChannelConfig
    requests: RequestConfig
    heat: HeatConfig = field(default_factory=HeatConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channel", from_mapping(ChannelConfig, self.channel, "channel"))
        object.__setattr__(self, "requests", from_mapping(RequestConfig, self.requests, "requests"))
        object.__setattr__(self, "heat", from_mapping(HeatConfig, self.heat, "heat"))

    @property
    def verification_latency_s(self) -> float:
        """Time to verify the batch of all users (eq. 7)."""
        return self.verification_fixed_s + self.num_users * self.verification_per_user_s

    def to_dict(self) -> dict[str, Any]:
        """This configuration as a plain, JSON-able dict; ``SystemConfig.from_dict`` is the inverse.

        What is None is left out: the dict of a system without it says the same as before there was such a field.
        """
        values = dataclasses.asdict(self)
        values["requests"] = {name: value for name, value in values["requests"].items() if value is not None}
        values["requests"]["tasks"] = list(values["requests"]["tasks"])
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that ``values`` describes.

        Raises:
            ConfigError: A field is unknown, missing or out of range.
        """
        return from_mapping(cls, values, cls.__name__)

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some fields changed; nested sections may be given in part.

        Args:
            changes: Field names to new values, for instance ``{"num_users": 5, "channel": {"shadowing_std_db": 0}}``.

        Raises:
            ConfigError: A field is unknown or out of range.
        """
        if not isinstance(changes, Mapping):
            raise ConfigError(f"config must be a SystemConfig or a dict of its fields, got {shown(changes)}")
        return self.from_dict(_merged(self.to_dict(), changes))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        nested = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[name] = _merged(below, value) if nested else value  # type: ignore[arg-type]
    return merged
