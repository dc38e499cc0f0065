"""Evaluation as a library: who can be evaluated, on which seeds, and what an agent is compared with."""

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from multispin_env import Allocation, make_config
from multispin_env.envs.actions import make_action_codec
from multispin_env.evaluation import FIRST_EVALUATION_SEED, Controller, evaluate, reference
from multispin_env.evaluation.reference import NoReferenceError, ReferenceResults, load_reference, world_probe

SMALL = {"num_users": 3, "episode_rounds": 6, "max_draft_length": 10}
# Of 1 to 10, a draft length of 8 is the bin around .78.
EIGHT = np.array([0.78, 0.78, 0.78, 0.0, 0.0, 0.0], dtype=np.float32)


def small(agent, **changes):
    return evaluate(agent, **{"scenario": "mobile", "config": SMALL, "seeds": 3, **changes})


def equal_shares(view, length=8):
    shape = view.drafting_latency_s.shape
    return Allocation(np.full(shape, length), np.full(shape, 1.0 / shape[1]))


class ActsOnly:
    def act(self, view):
        num_envs, users = view.drafting_latency_s.shape
        actions = np.tile(np.repeat(EIGHT[[0, -1]], users), (num_envs, 1))
        return make_action_codec("direct", view.config).decode(actions, view)


class Predicts:
    """Counts its rounds in the state, as a recurrent policy would, and drafts longer from round to round."""

    def __init__(self):
        self.starts = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.starts.append(episode_start.copy())
        rounds = np.zeros(len(observation)) if state is None else state
        return np.tile(EIGHT, (len(observation), 1)) * (1.0 - 0.1 * rounds)[:, np.newaxis], rounds + 1


def test_a_controller_a_policy_and_a_function_that_decide_the_same_earn_the_same():
    class Memoryless:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.tile(EIGHT, (len(observation), 1)), None

    agents = (ActsOnly(), Memoryless(), lambda observations: np.tile(EIGHT, (len(observations), 1)))
    acted, predicted, called = (small(agent) for agent in agents)
    for other in (predicted, called):
        assert [episode.tokens for episode in other.episodes] == [episode.tokens for episode in acted.episodes]
        assert other.goodput_tok_s == pytest.approx(acted.goodput_tok_s)
    assert [small(agent).name for agent in agents] == ["ActsOnly", "Memoryless", "<lambda>"]
    assert small(agents[2], name="eights").name == "eights"


def test_act_is_all_that_a_controller_needs_and_the_rest_is_used_where_it_is():
    class Whole(Controller):
        privileged = True

        def __init__(self):
            self.resets = []

        def transform_config(self, config):
            return config.updated({"num_users": 2})

        def reset(self, num_envs):
            self.resets.append(num_envs)

        def act(self, view):
            assert view.acceptance_rate.shape == (3, 2)
            return equal_shares(view)

    class Duck:
        name = "duck"
        privileged = True
        __init__, reset, act = Whole.__init__, Whole.reset, Whole.act

        def transform_config(self, config):
            return config.updated({"num_users": 2})

    whole, duck = Whole(), Duck()
    assert small(whole).goodput_tok_s == small(duck).goodput_tok_s
    assert whole.resets == duck.resets == [3]
    assert (small(whole).name, small(duck).name) == ("Whole", "duck")


def test_the_state_of_a_recurrent_policy_is_handed_back_and_forgotten_between_evaluations():
    agent = Predicts()
    first = small(agent)
    assert [starts.tolist() for starts in agent.starts] == [[True] * 3] + [[False] * 3] * (SMALL["episode_rounds"] - 1)
    assert small(agent).episodes == first.episodes
    constant = small(lambda observations: np.tile(EIGHT, (len(observations), 1)))
    assert constant.goodput_tok_s != first.goodput_tok_s


def test_seeds_are_a_number_from_the_first_on_or_the_seeds_themselves():
    counted = small(ActsOnly())
    assert counted.seeds == tuple(FIRST_EVALUATION_SEED + index for index in range(3))
    chosen = small(ActsOnly(), seeds=(FIRST_EVALUATION_SEED + 2, 7))
    assert chosen.seeds == (FIRST_EVALUATION_SEED + 2, 7)
    assert chosen.episodes[0].tokens == counted.episodes[2].tokens
    for wrong in (0, -1, (), (1, 1), (-1,), "64", True, 2.5):
        with pytest.raises(ValueError, match="seeds must be"):
            small(ActsOnly(), seeds=wrong)


def test_an_agent_acts_in_the_environment_that_it_was_trained_in():
    lengths = small(lambda observations: np.full((len(observations), 3), 0.5), env_kwargs={"action": "lengths"})
    assert lengths.goodput_tok_s != small(ActsOnly()).goodput_tok_s
    with pytest.raises(ValueError, match="env_kwargs must not have scenario"):
        small(lambda observations: observations, env_kwargs={"scenario": "paper"})


def test_observations_are_normalized_before_the_agent_sees_them():
    seen = []

    def agent(observations):
        seen.append(observations)
        return np.tile(EIGHT, (len(observations), 1))

    small(agent, normalize=lambda observations: np.full_like(observations, 4.0))
    assert all(np.all(observations == 4.0) for observations in seen)


@pytest.mark.parametrize(
    ("agent", "error", "message"),
    [
        (3, TypeError, r"agent must have act\(view\) or predict"),
        (ActsOnly, TypeError, "must be an instance, got the class ActsOnly"),
        (lambda observations: EIGHT, ValueError, r"must return actions of shape \(3, 6\) .* got \(6,\)"),
        (lambda observations: np.full((3, 6), 2.0), ValueError, r"action must .*in \[-1, 1\].* got .*2\.0"),
    ],
)
def test_what_cannot_play_is_told_why(agent, error, message):
    with pytest.raises(error, match=message):
        small(agent)


def test_a_model_of_other_spaces_is_refused_by_shape():
    agent: Any = Predicts()
    agent.observation_space = Box(-1.0, 1.0, (180,))
    with pytest.raises(ValueError, match=r"Predicts was trained on observations of shape \(180,\), here .* \(33,\)"):
        small(agent)
    agent.observation_space, agent.action_space = Box(-1.0, 1.0, (33,)), Box(-1.0, 1.0, (3,))
    with pytest.raises(ValueError, match=r"trained on actions of shape \(3,\), here they are \(6,\).*env_kwargs"):
        small(agent)


def test_without_reference_results_it_says_so_and_compares_with_whom_one_names():
    class Short:
        def act(self, view):
            return equal_shares(view, 2)

    alone = small(ActsOnly())
    assert alone.gains is None
    assert alone.without_reference is not None
    assert alone.without_reference in str(alone)
    beside = small(ActsOnly(), against=Short())
    other = small(Short())
    gains = [a.goodput_tok_s / b.goodput_tok_s - 1.0 for a, b in zip(beside.episodes, other.episodes, strict=True)]
    assert beside.gains == {"Short": beside.gain_over(other)}
    assert beside.gains["Short"].value == pytest.approx(np.mean(gains))
    assert small(ActsOnly(), against=alone).gains == {"ActsOnly": (0.0, 0.0, 0.0)}
    with pytest.raises(ValueError, match="not played on the same system and seeds"):
        alone.gain_over(small(Short(), seeds=2))


@pytest.fixture
def carried(monkeypatch):
    """Reference results of paper / llama2, as the package would carry them, of a controller that earns 1 tok/s."""
    system = make_config("paper", "llama2")
    results = ReferenceResults(
        system=system.to_dict(),
        world=world_probe(system),
        seeds=[FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 1],
        goodput_tok_s={"slow": [1.0, 1.0]},
    )
    held = [results]
    monkeypatch.setattr(
        reference, "_load", lambda scenario, pair: held[0] if (scenario, pair) == ("paper", "llama2") else None
    )
    return held


def test_gains_are_over_the_reference_results_of_the_same_seeds(carried):
    evaluation = evaluate(ActsOnly(), seeds=2)
    mean = np.mean([episode.goodput_tok_s for episode in evaluation.episodes])
    assert evaluation.gains["slow"].value == pytest.approx(mean - 1.0)
    assert evaluation.without_reference is None
    one = evaluate(ActsOnly(), seeds=[FIRST_EVALUATION_SEED + 1])
    assert one.gains["slow"].value == pytest.approx(evaluation.episodes[1].goodput_tok_s - 1.0)


def test_reference_results_of_anything_else_are_refused_with_the_reason(carried):
    preset = make_config("paper", "llama2")
    assert load_reference("paper", "llama2", preset) is carried[0]
    with pytest.raises(NoReferenceError, match="carries no reference results of mobile / llama2"):
        load_reference("mobile", "llama2", make_config("mobile", "llama2"))
    with pytest.raises(NoReferenceError, match=r"of the preset, and this config has channel\.power_to_noise=99\.0"):
        load_reference("paper", "llama2", preset.updated({"channel": {"power_to_noise": 99.0}}))
    # What this version simulates otherwise, with every number of the config the same.
    tokens, seconds, *rest = carried[0].world
    carried[0] = dataclasses.replace(carried[0], world=[tokens + 1.0, seconds, *rest])
    with pytest.raises(NoReferenceError, match="another version's world; `multispin reference` writes them anew"):
        load_reference("paper", "llama2", preset)
    # A preset that was changed since.
    carried[0] = dataclasses.replace(carried[0], system={**carried[0].system, "num_users": 19})
    with pytest.raises(NoReferenceError, match="another version's world"):
        load_reference("paper", "llama2", preset)


def test_seeds_beyond_the_reference_are_not_compared(carried):
    beyond = evaluate(ActsOnly(), seeds=3)
    assert beyond.gains is None
    assert "seeds 1000000 to 1000001" in beyond.without_reference


def test_importing_it_needs_neither_rich_nor_matplotlib_nor_pytorch():
    code = (
        "import sys, multispin_env.evaluation; "
        "print([name for name in ('rich', 'matplotlib', 'torch', 'stable_baselines3') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
