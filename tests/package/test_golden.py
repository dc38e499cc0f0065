"""Golden trajectories: what a seed means, as data. They change by decision only, and CHANGELOG.md names it.

After such a decision write them anew, from the root of the repository, and commit the file:

    python tests/package/test_golden.py --write
"""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from multispin_env import MODEL_PAIRS, SCENARIOS
from multispin_env.core.streams import Streams
from multispin_env.profiles import load_model_pair

FILE = Path(__file__).parent / "data" / "golden.npz"
ROUNDS, SEED = 20, 7
# Several episodes, requests that end and lists of prompts that wrap within the rounds.
SMALL = {
    "num_users": 3,
    "episode_rounds": 8,
    "requests": {"tokens_low": 4, "tokens_high": 12, "prompts_per_user": 2},
}
CASES = [
    (lengths, scenario, pair)
    for lengths in ("Homogeneous", "Heterogeneous")
    for scenario in SCENARIOS
    for pair in MODEL_PAIRS
    if scenario != "live" and (scenario != "trace" or load_model_pair(pair).traces is not None)
]


def trajectory(lengths, scenario, pair):
    """Observations, among them those after resets, rewards, and the tokens of every user, of ``ROUNDS`` rounds."""
    env = gym.make(f"multispin_env/{lengths}-v0", scenario=scenario, model_pair=pair, config=SMALL)
    actions = np.random.default_rng(2026).uniform(-1.0, 1.0, (ROUNDS, *env.action_space.shape)).astype(np.float32)
    observations, rewards, tokens = [env.reset(seed=SEED)[0]], [], []
    for action in actions:
        observation, reward, _, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        tokens.append(info["tokens"])
        if truncated:
            observations.append(env.reset()[0])
    return {"observations": np.stack(observations), "rewards": np.array(rewards), "tokens": np.stack(tokens)}


def key(case, part):
    return "/".join([*case, part])


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as held:
        return dict(held)


def assert_golden(golden, case):
    found = trajectory(*case)
    np.testing.assert_array_equal(found["tokens"], golden[key(case, "tokens")])
    for part in ("observations", "rewards"):
        # Other processors and NumPys round otherwise.
        np.testing.assert_allclose(found[part], golden[key(case, part)], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_seed_means_what_it_meant(case, golden):
    assert_golden(golden, case)


def test_the_file_holds_every_case_and_no_other(golden):
    assert golden.keys() == {key(case, part) for case in CASES for part in ("observations", "rewards", "tokens")}
    assert FILE.stat().st_size < 300_000


def test_the_trajectories_show_requests_that_end_and_new_episodes(golden):
    for case in CASES:
        assert len(golden[key(case, "observations")]) == ROUNDS + 1 + ROUNDS // SMALL["episode_rounds"]
        # A user gains more in an episode than its longest request asks for.
        assert golden[key(case, "tokens")][: SMALL["episode_rounds"]].sum(axis=0).max() > 12


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        *(("thermal", f"channel.{name}") for name in ("path_gain", "speed", "shadowing", "fading")),
        ("paper", "channel.fading"),
        ("thermal", "devices.latency"),
        *(("thermal", f"requests.{name}") for name in ("task", "acceptance", "length", "outcome", "drift")),
        *(("trace", f"requests.{name}") for name in ("task", "prompt", "outcome")),
    ],
)
def test_another_name_of_a_stream_does_not_pass(scenario, name, golden, monkeypatch):
    take, taken = Streams._key, set()

    def renamed(streams, asked):
        taken.add(asked)
        return take(streams, f"{asked}." if asked == name else asked)

    monkeypatch.setattr(Streams, "_key", renamed)
    with pytest.raises(AssertionError):
        assert_golden(golden, ("Heterogeneous", scenario, "smollm2"))
    assert name in taken


def write():
    """Plays every case and writes the file."""
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        FILE,
        **{
            key(case, part): values.astype(np.int32 if part == "tokens" else np.float32)
            for case in CASES
            for part, values in trajectory(*case).items()
        },
    )
    print(f"{FILE}: {len(CASES)} trajectories, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    write()
