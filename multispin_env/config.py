"""The system's configuration: frozen, validated, to and from a plain dict.

Every field carries its unit in its name and its allowed range in its definition; a value outside the range, or a
field that does not exist, raises an error that names the field, the value and what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message names the field, the value and the allowed range."""


def real(low: float, high: float = math.inf, *, open_low: bool = False, default: Any = dataclasses.MISSING) -> Any:
    """A field of :class:`Checked`: a finite number from ``low``, without it if ``open_low``, to ``high``."""
    return field(default=default, metadata={"low": low, "high": high, "open_low": open_low, "integer": False})


def whole(low: int, high: float = math.inf, *, default: Any = dataclasses.MISSING) -> Any:
    """A field of :class:`Checked`: an integer from ``low`` to ``high``."""
    return field(default=default, metadata={"low": low, "high": high, "open_low": False, "integer": True})


def check_number(name: str, value: Any, rule: Mapping[str, Any]) -> float | int:
    """``value`` as a plain number if it is as the metadata of a :func:`real` or :func:`whole` field says.

    Raises:
        ConfigError: It is not; the message names it, the value and the range.
    """
    kind = "an integer" if rule["integer"] else "a finite number"
    bracket = "(" if rule["open_low"] else "["
    allowed = f"{kind} in {bracket}{rule['low']:g}, {rule['high']:g}{')' if math.isinf(rule['high']) else ']'}"
    accepted = numbers.Integral if rule["integer"] else numbers.Real
    if isinstance(value, bool) or not isinstance(value, accepted) or not math.isfinite(value):
        raise ConfigError(f"{name} must be {allowed}, got {value!r}")
    if value < rule["low"] or value > rule["high"] or (rule["open_low"] and value == rule["low"]):
        raise ConfigError(f"{name} must be {allowed}, got {value!r}")
    return int(value) if rule["integer"] else float(value)  # type: ignore[call-overload]


class Checked:
    """Checks every numeric field of a frozen dataclass against the range in its metadata."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            if "low" in item.metadata:
                name = f"{type(self).__name__}.{item.name}"
                object.__setattr__(self, item.name, check_number(name, getattr(self, item.name), item.metadata))


def check_fields(name: str, values: Mapping[str, Any], known: Sequence[str], required: Sequence[str]) -> None:
    """Refuses a mapping that has a field which is not known, or lacks one that is required.

    Raises:
        ConfigError: It does; the message names the mapping, the field and what is known or missing.
    """
    for field_name in values:
        if field_name not in known:
            guess = difflib.get_close_matches(str(field_name), known, n=1)
            hint = f"; did you mean {guess[0]!r}?" if guess else "."
            raise ConfigError(f"{name} has no field {field_name!r}{hint} Its fields are: {', '.join(known)}")
    missing = [field_name for field_name in required if field_name not in values]
    if missing:
        raise ConfigError(f"{name} needs a value for: {', '.join(missing)}")


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Checked):
    """One task (data set) that requests come from.

    Attributes:
        name: The data set's name.
        acceptance_mean: Mean over prompts of the probability that a drafted token is accepted.
        acceptance_std: Its standard deviation over prompts. A Beta distribution has to exist with this mean and
            spread: the square stays below ``mean (1 - mean)``.
    """

    name: str
    acceptance_mean: float = real(0.0, 1.0)
    acceptance_std: float = real(0.0, 0.5, default=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"TaskConfig.name must be a non-empty string, got {self.name!r}")
        limit = self.acceptance_mean * (1.0 - self.acceptance_mean)
        if self.acceptance_std > 0.0 and self.acceptance_std**2 >= limit:
            raise ConfigError(
                f"TaskConfig.acceptance_std must be below {math.sqrt(limit):.4f}, the square root of mean (1 - mean), "
                f"for acceptance_mean={self.acceptance_mean:g}, got {self.acceptance_std!r}"
            )


def check_tasks(name: str, tasks: Sequence[TaskConfig | Mapping[str, Any]]) -> tuple[TaskConfig, ...]:
    """The tasks of a list, each given as a :class:`TaskConfig` or a dict of its fields.

    Raises:
        ConfigError: It is no list, an empty one, or has a wrong entry.
    """
    if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not tasks:
        raise ConfigError(f"{name} must be a non-empty list of tasks, got {tasks!r}")
    return tuple(from_mapping(TaskConfig, task, "tasks") for task in tasks)


@dataclass(frozen=True, kw_only=True)
class FadingChannelConfig(Checked):
    """What channels have in common whose gain is path gain x fading.

    Attributes:
        power_to_noise: Transmit power over noise power p/N0, linear: the signal to noise ratio at unit gain (eq. 8).
        path_gain_low: Lower end of the uniform distribution of a user's path gain, drawn once an episode.
        path_gain_high: Its upper end.
    """

    power_to_noise: float = real(0.0, open_low=True)
    path_gain_low: float = real(0.0, open_low=True, default=0.2)
    path_gain_high: float = real(0.0, open_low=True, default=0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path_gain_high < self.path_gain_low:
            raise ConfigError(
                f"{type(self).__name__}.path_gain_high must be at least path_gain_low={self.path_gain_low:g}, "
                f"got {self.path_gain_high!r}"
            )


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
    carrier_frequency_hz: float = real(1e6, 1e12, default=3.5e9)
    speeds_m_s: tuple[float, ...] = (0.01, 0.1, 1.4)
    shadowing_std_db: float = real(0.0, 20.0, default=8.0)
    shadowing_decorrelation_m: float = real(0.0, open_low=True, default=13.0)
    receive_antennas: int = whole(1, 64, default=1)
    doppler_known: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        name, speeds = f"{type(self).__name__}.speeds_m_s", self.speeds_m_s
        if not isinstance(speeds, Sequence) or isinstance(speeds, str) or not speeds:
            raise ConfigError(f"{name} must be a non-empty list of speeds, got {speeds!r}")
        rule = {"low": 0.0, "high": 1000.0, "open_low": False, "integer": False}
        checked = tuple(float(check_number(f"{name}[{place}]", speed, rule)) for place, speed in enumerate(speeds))
        object.__setattr__(self, "speeds_m_s", checked)
        if not isinstance(self.doppler_known, bool):
            raise ConfigError(
                f"{type(self).__name__}.doppler_known must be True or False, got {self.doppler_known!r}"
            )


@dataclass(frozen=True, kw_only=True)
class TraceChannelConfig(Checked):
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
    mean_spectral_efficiency: float = real(0.0, 64.0, open_low=True, default=5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.path, str) or not self.path:
            raise ConfigError(f"{type(self).__name__}.path must be a file's path as a string, got {self.path!r}")


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
    if isinstance(values, tuple(CHANNEL_CONFIGS.values())):
        return values
    kind = values.get("kind", "block") if isinstance(values, Mapping) else "block"
    if not isinstance(kind, str) or kind not in CHANNEL_CONFIGS:
        raise ConfigError(f"channel.kind must be one of {', '.join(CHANNEL_CONFIGS)}, got {kind!r}")
    return from_mapping(CHANNEL_CONFIGS[kind], values, "channel")


@dataclass(frozen=True, kw_only=True)
class LiveConfig(Checked):
    """Two language models that share a tokenizer, and what users ask of them. Needs the extra ``live``.

    Attributes:
        draft: The draft model: ``tiny-draft`` or ``tiny-target``, the shipped ones, a folder, a GGUF file, an installed
            package that carries one, or a name on Hugging Face's hub.
        target: The target model, likewise.
        prompts: ``tiny-prompts``, the shipped ones, or a file of JSON Lines, ``{"task": "...", "prompt": "..."}``.
        retained_entries: V_hat: entries of the draft's distribution that are uploaded with a token.
        probability_bits: Q_B: bits of an entry's probability.
    """

    draft: str = "tiny-draft"
    target: str = "tiny-target"
    prompts: str = "tiny-prompts"
    retained_entries: int = whole(1, default=1024)
    probability_bits: int = whole(1, 32, default=16)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draft", "target", "prompts"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ConfigError(f"LiveConfig.{name} must be a non-empty string, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class RequestConfig(Checked):
    """The users' requests: a user keeps one task for an episode and works through a list of prompts, over and over.

    Acceptance comes from a Beta distribution of the task's mean and spread, with ``trace`` from measured requests, or
    with ``live`` from models at work.

    Attributes:
        tasks: The tasks; each user draws one, uniformly, at the start of an episode.
        acceptance_spread: How much of each task's ``acceptance_std`` its requests have: 0 gives every request the
            task's mean (the paper's experiments), 1 the measured spread, hidden from the controller.
        drift_share: Share of a request's (Gaussian) acceptance variate that drifts from token to token; the rest stays
            for the whole request. The marginal mean and spread do not depend on it.
        drift_correlation_tokens: Tokens over which the drifting part's autocorrelation falls to 1/e.
        prompts_per_user: Length of a user's list of prompts.
        tokens_low: Fewest tokens that a request asks for.
        tokens_high: Most tokens; lengths are uniform between the two.
        trace: The model pair, a built-in name or a file, whose measured requests are replayed, or None. The prompts are
            then drawn from the requests measured of the user's task, and a request is as long as its text, cut at
            ``tokens_high``. ``acceptance_spread``, ``drift_share``, ``drift_correlation_tokens`` and ``tokens_low``
            decide nothing; they remain what a controller may assume.
        live: The models that decide in the step what is accepted, or None. The prompts are then those of the user's
            task, and a request ends where the target ends its text, or with the round that reaches ``tokens_high``. The
            same four fields decide nothing.
    """

    tasks: tuple[TaskConfig, ...]
    acceptance_spread: float = real(0.0, 1.0, default=0.0)
    drift_share: float = real(0.0, 1.0, default=0.0)
    drift_correlation_tokens: float = real(0.0, open_low=True, default=20.0)
    prompts_per_user: int = whole(1, 10_000, default=50)
    tokens_low: int = whole(1, 1_000_000, default=32)
    tokens_high: int = whole(1, 1_000_000, default=256)
    trace: str | None = None
    live: LiveConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tasks", check_tasks("RequestConfig.tasks", self.tasks))
        if self.tokens_high < self.tokens_low:
            raise ConfigError(
                f"RequestConfig.tokens_high must be at least tokens_low={self.tokens_low}, got {self.tokens_high!r}"
            )
        if self.trace is not None and (not isinstance(self.trace, str) or not self.trace):
            raise ConfigError(
                f"RequestConfig.trace must be None or a model pair's name or file as a string, got {self.trace!r}"
            )
        if self.live is not None:
            object.__setattr__(self, "live", from_mapping(LiveConfig, self.live, "live"))
            if self.trace is not None:
                raise ConfigError(f"RequestConfig.trace must be None where models run live, got {self.trace!r}")


@dataclass(frozen=True, kw_only=True)
class HeatConfig(Checked):
    """Heat of a device: one thermal capacity, heated while it drafts and cooled all the time.

    Heat 0 is a rested device, heat 1 the steady state of drafting without pause.

    Attributes:
        slowdown: Drafting latency at heat 1 is ``1 + slowdown`` times that of a rested device, linear in between.
            0 switches heat off.
        time_constant_s: Time constant with which heat follows the share of time spent drafting.
    """

    slowdown: float = real(0.0, 100.0, default=0.0)
    time_constant_s: float = real(0.0, open_low=True, default=90.0)


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
        verification_per_token_s: Time that each token adds beyond those that are free (ours: the paper's server is
            measured where the lengths do not count).
        verification_free_tokens: Tokens of a batch, each user's draft and one more, that cost nothing by themselves.
        drafting_latency_s: Time a rested device takes to draft one token, the mean over users of T^S.
        drafting_latency_spread: Users' latencies are uniform within this fraction around the mean.
        episode_rounds: Rounds in an episode.
        channel: The uplink channel.
        requests: Tasks, acceptance and length of requests.
        heat: Thermal behaviour of the devices.
    """

    num_users: int = whole(1, 100_000, default=20)
    bandwidth_hz: float = real(0.0, open_low=True, default=10e6)
    payload_bits: float = real(1.0)
    max_draft_length: int = whole(1, 10_000, default=25)
    verification_fixed_s: float = real(0.0)
    verification_per_user_s: float = real(0.0, open_low=True)
    verification_per_token_s: float = real(0.0, default=0.0)
    verification_free_tokens: int = whole(0, default=0)
    drafting_latency_s: float = real(0.0, open_low=True)
    drafting_latency_spread: float = real(0.0, 0.99, default=0.15)
    episode_rounds: int = whole(1, 10_000_000, default=200)
    channel: ChannelConfig
    requests: RequestConfig
    heat: HeatConfig = HeatConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channel", channel_config(self.channel))
        object.__setattr__(self, "requests", from_mapping(RequestConfig, self.requests, "requests"))
        object.__setattr__(self, "heat", from_mapping(HeatConfig, self.heat, "heat"))

    @property
    def verification_latency_s(self) -> float:
        """Time to verify the batch of all users (eq. 7), without what tokens add."""
        return self.verification_fixed_s + self.num_users * self.verification_per_user_s

    def to_dict(self) -> dict[str, Any]:
        """This configuration as a plain, JSON-able dict; ``SystemConfig.from_dict`` is the inverse.

        What is None is left out: the dict of a system without it says the same as before there was such a field.
        """
        values = dataclasses.asdict(self)
        values["requests"] = {name: value for name, value in values["requests"].items() if value is not None}
        values["requests"]["tasks"] = list(values["requests"]["tasks"])
        if "speeds_m_s" in values["channel"]:
            values["channel"]["speeds_m_s"] = list(values["channel"]["speeds_m_s"])
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

        A channel of another kind takes over what it has in common with the one before.

        Args:
            changes: Field names to new values, for instance ``{"num_users": 5, "channel": {"shadowing_std_db": 0}}``.

        Raises:
            ConfigError: A field is unknown or out of range.
        """
        if not isinstance(changes, Mapping):
            raise ConfigError(f"config must be a dict of SystemConfig's fields, got {changes!r}")
        values = self.to_dict()
        channel = changes.get("channel")
        if isinstance(channel, Mapping) and channel.get("kind") in CHANNEL_CONFIGS:
            known = [item.name for item in dataclasses.fields(CHANNEL_CONFIGS[channel["kind"]])]
            values["channel"] = {name: value for name, value in values["channel"].items() if name in known}
        return self.from_dict(_merged(values, changes))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        nested = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[name] = _merged(below, value) if nested else value  # type: ignore[arg-type]
    return merged


def from_mapping(cls: type[T], values: T | Mapping[str, Any], name: str) -> T:
    """An instance of a dataclass from a mapping of its fields; an instance is returned as it is.

    Raises:
        ConfigError: ``values``, called ``name`` in the message, is neither, or a field is unknown, missing or wrong.
    """
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a {cls.__name__} or a dict of its fields, got {values!r}")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = [item.name for item in fields if item.default is dataclasses.MISSING]
    check_fields(cls.__name__, values, [item.name for item in fields], required)
    return cls(**values)
