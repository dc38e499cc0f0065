"""Named presets of :class:`~multispin_env.config.SystemConfig`: six scenarios, times any model pair.

Sources. The paper's settings are those of arXiv 2606.04581 (K = 20, B = 10 MHz, path gain U[0.2, 0.5], latencies within
15 % of their mean, 50 prompts a user). Where a value is *ours*, the line that sets it says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from multispin_env.config import SystemConfig, shown
from multispin_env.profiles import load_model_pair, load_traces

# Ours: fitted to figures 6 to 8 by `multispin calibrate`. The paper prints N0 but no transmit power, and an
# ordinary handset's power over the printed N0 would give 28 bit/s/Hz, at which the paper's gains cannot occur.
POWER_TO_NOISE = 160.0

_PAPER: dict[str, Any] = {}

_REQUESTS: dict[str, Any] = {
    "requests": {"acceptance_spread": 1.0},
}

_MOBILE: dict[str, Any] = {
    "channel": {
        # Ours: correlation about .9 between the coefficient seen and the one used, at the paper's fixed draft of 8
        # tokens: exp(-8 T^S / 1.9 s) is .92 for llama2 and .88 for qwen3.5.
        "fading_correlation_time_s": 1.9,
        # 8 dB, decorrelating over 10 to 50 m: 20 m at a walking 1.4 m/s.
        "shadowing_std_db": 8.0,
        "shadowing_correlation_time_s": 14.0,
    },
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

_THERMAL: dict[str, Any] = _MOBILE | {
    "heat": {
        # Mean of the four throttling runs known to us, hot over cold latency: 40/22.6 (arXiv 2603.23640, iPhone 16 Pro)
        # and 48/18, 56/27, 33/22 (a public measurement, iPhone 17 Pro, three runtimes): 1.77, 2.67, 2.07, 1.5.
        "slowdown": 1.0,
        # Ours: a quarter of the speed is lost after 0.405 time constants of drafting without pause, 36 s; measured were
        # 35 s to 390 s. The fast end, so that heat moves within an episode.
        "time_constant_s": 90.0,
    },
}

# As mobile, but what is accepted is replayed from the pair's measured requests, which make_config names. The spread and
# the drift then decide nothing: they are what a controller made for mobile goes on to assume.
_TRACE = _MOBILE

# As trace, but two models write the texts in the step: the shipped tiny ones. make_config adds what the model pair
# uploads of a draft. Tasks are what the tiny target is asked for.
_LIVE: dict[str, Any] = _MOBILE | {
    "requests": _MOBILE["requests"]
    | {
        # Ours: `multispin measure --draft tiny-draft --target tiny-target --max-tokens 256` over the shipped
        # prompts, all entries uploaded.
        "tasks": [
            {"name": "signature", "acceptance_mean": 0.766, "acceptance_std": 0.044},
            {"name": "docstring", "acceptance_mean": 0.748, "acceptance_std": 0.041},
            {"name": "body", "acceptance_mean": 0.767, "acceptance_std": 0.059},
        ],
        "live": {"draft": "tiny-draft", "target": "tiny-target", "prompts": "tiny-prompts"},
    }
}

SCENARIOS: dict[str, dict[str, Any]] = {
    "paper": _PAPER,
    "requests": _REQUESTS,
    "mobile": _MOBILE,
    "thermal": _THERMAL,
    "trace": _TRACE,
    "live": _LIVE,
}


def make_config(
    scenario: str = "paper",
    model_pair: str | os.PathLike[str] = "llama2",
    config: Mapping[str, Any] | SystemConfig | None = None,
) -> SystemConfig:
    """The system of a scenario and a model pair.

    Args:
        scenario: ``paper``, ``requests``, ``mobile``, ``thermal``, ``trace`` for a pair with measured requests, or
            ``live``, where the shipped tiny models decide what is accepted and the rest is the pair's. For models of
            your own change ``requests.live``, and ``requests.tasks`` to what ``multispin measure`` found.
        model_pair: One of ``MODEL_PAIRS``, or the path of a pair's ``.json`` file.
        config: Fields of ``SystemConfig`` to change, nested sections in part where wanted, or a whole ``SystemConfig``,
            which is returned as it is: scenario and model pair then decide nothing.

    Raises:
        ValueError: Scenario, pair or field is unknown, a value is out of range, or the pair has nothing to replay.
    """
    if not isinstance(scenario, str) or scenario not in SCENARIOS:
        raise ValueError(f"scenario must be one of {', '.join(SCENARIOS)}, got {shown(scenario)}")
    pair = load_model_pair(model_pair)
    if isinstance(config, SystemConfig):
        return config
    system = SystemConfig.from_dict(
        {
            "payload_bits": pair.payload_bits,
            "verification_fixed_s": pair.verification_fixed_s,
            "verification_per_user_s": pair.verification_per_user_s,
            "drafting_latency_s": pair.drafting_latency_s,
            "channel": {"power_to_noise": POWER_TO_NOISE},
            "requests": {"tasks": pair.tasks},
        }
    )
    system = system.updated(SCENARIOS[scenario])
    if scenario == "trace":
        load_traces(model_pair)  # refuses a pair that has none
        system = system.updated({"requests": {"trace": os.fspath(model_pair)}})
    if scenario == "live":
        uploaded = {"retained_entries": pair.retained_entries, "probability_bits": pair.probability_bits}
        system = system.updated({"requests": {"live": uploaded}})
    return system.updated({} if config is None else config)
