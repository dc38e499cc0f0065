"""The sections of the system's configuration. A field carries its unit in its name, its range in its definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multispin_env.config.validation import (
    Checked,
    ConfigError,
    check_text,
    from_mapping,
    real,
    shown,
    whole,
)


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
        check_text("TaskConfig.name", self.name)
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
        raise ConfigError(f"{name} must be a non-empty list of tasks, got {shown(tasks)}")
    return tuple(from_mapping(TaskConfig, task, "tasks") for task in tasks)


@dataclass(frozen=True, kw_only=True)
class ChannelConfig(Checked):
    """The uplink channel. A gain is path gain x shadowing x Rayleigh fading.

    Attributes:
        power_to_noise: Transmit power over noise power p/N0, linear: the signal to noise ratio at unit gain (eq. 8).
        path_gain_low: Lower end of the uniform distribution of a user's path gain, drawn once an episode.
        path_gain_high: Its upper end.
        fading_correlation_time_s: Time constant T_c of Ornstein-Uhlenbeck fading: the coefficient's autocorrelation is
            ``exp(-dt / T_c)`` in real time, so what a controller sees at the start of a round has aged when the upload
            begins. 0 means block fading: independent in every round, constant within it, and known.
        shadowing_std_db: Standard deviation of log-normal shadowing.
        shadowing_correlation_time_s: Time constant of the shadowing, Ornstein-Uhlenbeck in dB.
    """

    power_to_noise: float = real(1e-6, 1e20)
    path_gain_low: float = real(1e-20, 1e6, default=0.2)
    path_gain_high: float = real(1e-20, 1e6, default=0.5)
    fading_correlation_time_s: float = real(1e-6, 1e18, off=True, default=0.0)
    shadowing_std_db: float = real(0.0, 20.0, default=0.0)
    shadowing_correlation_time_s: float = real(1e-6, 1e9, default=14.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path_gain_high < self.path_gain_low:
            raise ConfigError(
                f"ChannelConfig.path_gain_high must be at least path_gain_low={self.path_gain_low:g}, "
                f"got {self.path_gain_high!r}"
            )


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
    retained_entries: int = whole(1, 10_000_000, default=1024)
    probability_bits: int = whole(1, 32, default=16)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draft", "target", "prompts"):
            check_text(f"LiveConfig.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class RequestConfig(Checked):
    """The users' requests: a user keeps one task for an episode and works through a list of prompts, over and over.

    Acceptance comes from a Beta distribution of the task's mean and spread, with ``trace`` from measured requests, or
    with ``live`` from models at work.

    Attributes:
        tasks: The tasks; each user draws one, uniformly, at the start of an episode.
        acceptance_spread: How much of each task's ``acceptance_std`` its requests have: 0 gives every request the
            task's mean (the paper's experiments), 1 the measured spread, hidden from the controller.
        drift_share: Share of a request's (Gaussian) acceptance variate that drifts while its text grows; the rest
            stays for the whole request. The marginal mean and spread do not depend on it.
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
    drift_correlation_tokens: float = real(1e-3, 1e9, default=20.0)
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
                f"RequestConfig.trace must be None or a model pair's name or file as a string, got {shown(self.trace)}"
            )
        if self.live is not None:
            object.__setattr__(self, "live", from_mapping(LiveConfig, self.live, "live"))
            if self.trace is not None:
                raise ConfigError(f"RequestConfig.trace must be None where models run live, got {shown(self.trace)}")


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
    time_constant_s: float = real(1e-3, 1e9, default=90.0)
