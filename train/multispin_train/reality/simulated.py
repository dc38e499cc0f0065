"""Rounds of the environment's own requests, all drafts of one length: what `mobile` makes of a pair's acceptance."""

from __future__ import annotations

import numpy as np

from multispin_env import make_config
from multispin_env.core.equations import FloatArray
from multispin_env.core.requests import make_requests
from multispin_env.core.streams import Streams
from multispin_train.reality.drift import Drift, possible_spread
from multispin_train.reality.drifting_rates import DRAFT_LENGTHS
from multispin_train.reality.resampling import SEED, Sample

# Simulated requests for each that was measured, at least.
_REQUESTS_FOR_EACH = 100


def mobile_prefix(sample: Sample, drift: Drift) -> FloatArray:
    """Accepted prefix of a round in `mobile`, for each of ``DRAFT_LENGTHS``.

    The environment's own requests, with the measured tasks' means, the fitted spread and `mobile`'s course along the
    text. Rounds follow each other from the beginning of a text on; drafts that reach beyond its end are left out, as
    they are of measured texts.
    """
    rounds, accepted = np.zeros(len(DRAFT_LENGTHS)), np.zeros(len(DRAFT_LENGTHS))
    for rows in sample.of_task.values():
        tokens = sample.traces.length[rows]
        mean = float(sample.sums(sample.traces.acceptance)[rows].sum() / tokens.sum())
        task = {
            "name": "measured",
            "acceptance_mean": mean,
            "acceptance_std": float(possible_spread(drift.rate_std.value, mean)),
        }
        _play(task, round(tokens.mean()), _REQUESTS_FOR_EACH * len(rows), rounds, accepted)
    with np.errstate(invalid="ignore"):  # where no text is so long
        return accepted / rounds


def _play(task: dict[str, object], tokens: int, users: int, rounds: FloatArray, accepted: FloatArray) -> None:
    """Plays a request of each user for each of ``DRAFT_LENGTHS``, and adds up rounds and accepted drafts."""
    length = {"tokens_low": tokens, "tokens_high": tokens}
    config = make_config("mobile", config={"requests": {"tasks": [task], **length}, "num_users": users})
    requests = make_requests(config)
    for place, draft_length in enumerate(DRAFT_LENGTHS.tolist()):
        requests.reset(Streams([np.random.default_rng(SEED)]))
        lengths = np.full((1, users), draft_length)
        position = np.zeros_like(lengths)
        while np.any(whole := position + draft_length <= tokens):
            gained = requests.verify(lengths)
            rounds[place] += np.sum(whole)
            accepted[place] += np.sum(gained - 1, where=whole)
            position += gained
