"""Named presets of :class:`~multispin_env.config.SystemConfig`: seven scenarios, and users' own, times any model pair.

Sources. The paper's settings are those of arXiv 2606.04581 (K = 20, B = 10 MHz, path gain U[0.2, 0.5], latencies within
15 % of their mean, 50 prompts a user). Where a value is *ours*, the line that sets it says so.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from multispin_env.config import ConfigError, SystemConfig, shown
from multispin_env.profiles import load_model_pair, load_traces
from multispin_env.registration import check_new_name, registered_name

# Ours: fitted to figures 6 to 8 by `multispin calibrate`. The paper prints N0 but no transmit power, and an
# ordinary handset's power over the printed N0 would give 28 bit/s/Hz, at which the paper's gains cannot occur.
POWER_TO_NOISE = 160.0

_REQUESTS: dict[str, Any] = {
    "requests": {"acceptance_spread": 1.0},
}

_MOBILE: dict[str, Any] = {
    # Of the channel the defaults of its kind: 3.5 GHz (band n78); shadowing of 8 dB that decorrelates over 13 m (3GPP
    # TR 38.901, UMi without line of sight: 7.82 dB, 13 m). Speeds are ours: on a table while the room moves, in the
    # hand of somebody who sits, walking; Doppler shifts of .12, 1.2 and 16 Hz.
    "channel": {"kind": "mobility"},
    "requests": {
        "acceptance_spread": 1.0,
        # Ours, by `multispin reality` (docs/reality): .86 [.82, .94] of smollm2's variate drifts, over 5.4
        # [3.3, 16.8] tokens, of the tiny pair's .97 over 2.4. The Pr(accepted >= k) published of Qwen2.5-0.5B -> 7B
        # (.61 .46 .39 .31 .28 .25 .19 .16 .14 .11; development log of arXiv 2606.20591) is met best by .9 to 1 over 5
        # tokens, with a spread of .34, about that of Table I.
        "drift_share": 0.9,
        "drift_correlation_tokens": 5.0,
    },
}

_HEAT: dict[str, Any] = {
    "heat": {
        # Mean of the four throttling runs known to us, hot over cold latency: 40/22.6 (arXiv 2603.23640, iPhone 16 Pro)
        # and 48/18, 56/27, 33/22 (a public measurement, iPhone 17 Pro, three runtimes): 1.77, 2.67, 2.07, 1.5.
        "slowdown": 1.0,
        # Ours: a quarter of the speed is lost after 0.405 time constants of drafting without pause, 36 s; measured were
        # 35 s to 390 s. The fast end, so that heat moves within an episode.
        "time_constant_s": 90.0,
    },
}


# The uplink is that of a file, channel.path, which the user names; the one that comes with the package is synthetic.
_UPLINK: dict[str, Any] = {"channel": {"kind": "trace"}}


def _replayed(model_pair: str) -> dict[str, Any]:
    """The pair's measured requests are replayed.

    The spread and the drift then decide nothing: they are what a controller made for mobile goes on to assume.
    """
    load_traces(model_pair)  # refuses a pair that has none
    return {"requests": {"trace": model_pair}}


def _live(model_pair: str) -> dict[str, Any]:
    """Two models write the texts in the step: the shipped tiny ones. What they upload of a draft is the pair's."""
    pair = load_model_pair(model_pair)
    return {
        "requests": {
            # Ours: `multispin measure --draft tiny-draft --target tiny-target --max-tokens 256` over the shipped
            # prompts, all entries uploaded. Tasks are what the tiny target is asked for.
            "tasks": [
                {"name": "signature", "acceptance_mean": 0.766, "acceptance_std": 0.044},
                {"name": "docstring", "acceptance_mean": 0.748, "acceptance_std": 0.041},
                {"name": "body", "acceptance_mean": 0.767, "acceptance_std": 0.059},
            ],
            "live": {
                "draft": "tiny-draft",
                "target": "tiny-target",
                "prompts": "tiny-prompts",
                "retained_entries": pair.retained_entries,
                "probability_bits": pair.probability_bits,
            },
        }
    }


# Fields of SystemConfig to change, or what gives them for a pair's name or path.
Changes: TypeAlias = Mapping[str, Any] | Callable[[str], Mapping[str, Any]]

# What each scenario changes of the paper's system with the pair's times, one layer on top of the other.
SCENARIOS: dict[str, tuple[Changes, ...]] = {
    "paper": (),
    "requests": (_REQUESTS,),
    "mobile": (_MOBILE,),
    "thermal": (_MOBILE, _HEAT),
    "measured": (_MOBILE, _UPLINK),
    "trace": (_MOBILE, _replayed),
    "live": (_MOBILE, _live),
}

# A pair on which every scenario can be tried: it has measured requests.
_COMPLETE_PAIR = "smollm2"


def register_scenario(name: str, changes: Changes, *, base: str = "paper") -> None:
    """Makes a scenario known by a name, to the environments, ``make_config`` and the commands of the same process.

    Other processes know it as ``module:name``, after the module that registers it when it is imported.

    Args:
        name: Letters, digits and ``_.+-``, not taken by another one.
        changes: Fields of ``SystemConfig``, nested sections in part where wanted, for instance ``{"num_users": 40,
            "channel": {"power_to_noise": 80.0}}``. Or a function that gives them for a model pair, which it gets as it
            was named (:func:`~multispin_env.profiles.load_model_pair` reads it); what it gives is checked when a system
            is made.
        base: The scenario whose system is changed.

    Raises:
        ValueError: The name is taken or has other characters, or there is no such base.
        TypeError: ``changes`` is neither a mapping nor a function.
        ConfigError: A field is unknown or out of range.
    """
    if isinstance(changes, Mapping):
        changes = copy.deepcopy(dict(changes))
    elif not callable(changes):
        raise TypeError(
            f"changes must be a dict of SystemConfig's fields or a function that gives one, got {shown(changes)}"
        )
    layers = (*_layers("base", base), changes)
    SCENARIOS[check_new_name("scenario", name, layers, SCENARIOS)] = layers
    if isinstance(changes, Mapping):
        try:
            make_config(name, _COMPLETE_PAIR)
        except ConfigError as error:
            del SCENARIOS[name]
            raise ConfigError(f"scenario {name!r}: {error}") from error


def make_config(
    scenario: str = "paper",
    model_pair: str | os.PathLike[str] = "llama2",
    config: Mapping[str, Any] | SystemConfig | None = None,
) -> SystemConfig:
    """The system of a scenario and a model pair.

    Args:
        scenario: ``paper``, ``requests``, ``mobile``, ``thermal``, ``measured``, where the uplink is that of a file
            (change ``channel.path`` to yours), ``trace`` for a pair with measured requests, or ``live``, where the
            shipped tiny models decide what is accepted and the rest is the pair's. For models of your own change
            ``requests.live``, and ``requests.tasks`` to what ``multispin measure`` found. Or a registered one, in
            other processes as ``module:name``.
        model_pair: One of ``MODEL_PAIRS``, a registered one, or the path of a pair's ``.json`` file.
        config: Fields of ``SystemConfig`` to change, nested sections in part where wanted, or a whole ``SystemConfig``,
            which is returned as it is: scenario and model pair then decide nothing.

    Raises:
        ValueError: Scenario, pair or field is unknown, a value is out of range, or the pair has nothing to replay.
    """
    layers = _layers("scenario", scenario)
    pair = load_model_pair(model_pair)
    if isinstance(config, SystemConfig):
        return config
    system = SystemConfig.from_dict(
        {
            "payload_bits": pair.payload_bits,
            "verification_fixed_s": pair.verification_fixed_s,
            "verification_per_user_s": pair.verification_per_user_s,
            "verification_per_token_s": pair.verification_per_token_s,
            "verification_free_tokens": pair.verification_free_tokens,
            "drafting_latency_s": pair.drafting_latency_s,
            "channel": {"power_to_noise": POWER_TO_NOISE},
            "requests": {"tasks": pair.tasks},
        }
    )
    for changes in layers:
        system = system.updated(changes(os.fspath(model_pair)) if callable(changes) else changes)
    return system.updated({} if config is None else config)


def _layers(argument: str, scenario: object) -> tuple[Changes, ...]:
    """What a scenario changes, once the module is imported that its name may begin with."""
    name = registered_name(scenario) if isinstance(scenario, str) else scenario
    if not isinstance(name, str) or name not in SCENARIOS:
        raise ValueError(f"{argument} must be one of {', '.join(SCENARIOS)}, got {shown(scenario)}")
    return SCENARIOS[name]
