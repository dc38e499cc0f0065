"""The scenario `live`: the shipped models write in the step, through every check that the other scenarios pass."""

import copy
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from multispin_baselines import make_controller
from stable_baselines3.common import env_checker

from multispin_env import Allocation, Simulator, make_config
from multispin_env.config import ConfigError
from multispin_env.evaluation.rollout import play
from multispin_env.integrations.sb3 import make_sb3_vec_env
from multispin_env.speculative.decoding import Step
from multispin_env.speculative.live import EncodedPrompt, EnvironmentTexts, load_pair_and_prompts
from multispin_env.speculative.models import TINY
from multispin_env.speculative.prompts import read_prompts

pytestmark = pytest.mark.live

IDS = ("multispin_env/Homogeneous-v0", "multispin_env/Heterogeneous-v0")
HETEROGENEOUS = IDS[1]
# Requests that end, and lists of prompts that wrap, within a few rounds of short drafts.
SMALL = {
    "num_users": 3,
    "episode_rounds": 12,
    "max_draft_length": 6,
    "requests": {"tokens_low": 4, "tokens_high": 12, "prompts_per_user": 2},
}
LIVE = {"scenario": "live", "config": SMALL}


def actions_of(space, number, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (number, *space.shape)).astype(np.float32)


def assert_same(found, expected):
    """Steps or resets that agree in every number and text."""
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            assert_same(one.values(), other.values())
        else:
            np.testing.assert_array_equal(one, other)


def started(num_envs=1, seed=0, **config):
    simulator = Simulator(make_config("live", config=SMALL).updated(config), num_envs)
    simulator.reset([np.random.default_rng(seed + env_index) for env_index in range(num_envs)])
    return simulator


def played(simulator, lengths):
    """Passages and tokens of rounds with these draft lengths, (rounds, users), of one environment."""
    users = simulator.config.num_users
    for length in lengths:
        outcome = simulator.step(equal_shares(length, users))
        yield outcome.generation_states[0], outcome.tokens[0]


def equal_shares(length, users):
    return Allocation(np.broadcast_to(length, (1, users)).astype(np.int64), np.full((1, users), 1.0 / users))


# The checks that the other scenarios pass


@pytest.mark.parametrize("action", ["direct", "lengths", "residual"])
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("check", [check_env, env_checker.check_env], ids=["gymnasium", "stable_baselines3"])
def test_the_checks_pass_without_a_warning(check, env_id, action):
    check(gym.make(env_id, **LIVE, action=action).unwrapped)


def test_twins_agree_and_a_seed_starts_the_same_episode_again():
    env, twin = (gym.make(HETEROGENEOUS, **LIVE) for _ in range(2))
    actions = actions_of(env.action_space, 12)
    first = [env.reset(seed=3), *(env.step(action) for action in actions)]
    for other in (twin, env):
        for found, expected in zip(
            [other.reset(seed=3), *(other.step(action) for action in actions)], first, strict=True
        ):
            assert_same(found, expected)
    env.reset(seed=4)
    assert env.step(actions[0])[4]["text"] != first[1][4]["text"]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_an_environment_is_the_scalar_environment_with_its_seed(mode):
    # Each environment has its own caches, so that not even the last digit of a probability differs.
    envs = gym.make_vec(HETEROGENEOUS, 3, **LIVE, autoreset_mode=mode)
    sync = gym.make_vec(
        HETEROGENEOUS,
        3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": envs.metadata["autoreset_mode"]},
        **LIVE,
    )
    np.testing.assert_array_equal(envs.reset(seed=5)[0], sync.reset(seed=5)[0])
    for actions in actions_of(envs.action_space, 16):
        (*found, infos), (*expected, others) = envs.step(actions), sync.step(actions)
        assert_same(found, expected)
        assert infos.keys() == others.keys()
        if "text" in infos:
            assert infos["text"].tolist() == others["text"].tolist()
            np.testing.assert_array_equal(infos["tokens"], others["tokens"])


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"]
)
def test_a_duplicate_goes_on_from_the_middle_of_an_episode_without_a_copy_of_the_models(duplicate):
    env = gym.make(HETEROGENEOUS, **LIVE)
    env.reset(seed=5)
    actions = actions_of(env.action_space, 12)
    for action in actions[:5]:
        env.step(action)
    # Far less than the target's megabyte.
    assert len(pickle.dumps(env)) < 100_000
    twin = duplicate(env)
    # The twin reads the texts anew, in other batches: what it draws could differ where a draw falls on a rounding.
    for action in actions[5:]:
        assert env.step(action)[4]["text"] == twin.step(action)[4]["text"]


def test_an_environment_is_made_in_a_spawned_process_and_pickled_before_its_first_reset():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        foreign = pool.submit(gym.make, f"multispin_env:{HETEROGENEOUS}", **LIVE).result()
    env = gym.make(HETEROGENEOUS, **LIVE)
    assert_same(foreign.reset(seed=2), env.reset(seed=2))
    action = actions_of(env.action_space, 1)[0]
    assert_same(foreign.step(action), env.step(action))


def test_the_adapter_of_stable_baselines_plays_it():
    envs = make_sb3_vec_env(HETEROGENEOUS, 2, **LIVE)
    envs.seed(1)
    envs.reset()
    for actions in actions_of(envs.action_space, 12 * 2).reshape(12, 2, -1):
        _, _, dones, infos = envs.step(actions)
    assert dones.all()
    assert [len(info["text"]) for info in infos] == [3, 3]


def test_controllers_are_compared_on_it():
    config = make_config("live", config={"num_users": 3, "episode_rounds": 15})
    goodput = {}
    for name in ("fixed", "heterogeneous", "posterior", "clairvoyant"):
        episodes = play(make_controller(name, "llama2"), config, [0, 1], timed=False)
        goodput[name] = np.mean([episode.goodput_tok_s for episode in episodes])
    # Every round gains each user a token at least, and nobody drafts at 0 s a token.
    slowest_s = config.verification_latency_s
    assert all(0.0 < rate < 3 * 26 / slowest_s for rate in goodput.values())
    assert goodput["heterogeneous"] > goodput["fixed"]


# What is written


def test_a_round_gains_the_accepted_drafts_and_a_token_of_the_servers():
    simulator = started(requests={"tokens_high": 40})
    before = [""] * 3
    for passages, tokens in played(simulator, np.random.default_rng(0).integers(1, 7, (12, 3))):
        for user, passage in enumerate(passages):
            # A token is a byte, and the library's sources are mostly ASCII.
            assert passage.text.startswith(before[user])
            assert passage.accepted_start == len(before[user])
            if not passage.ended:
                assert len(passage.text) - passage.accepted_start == tokens[user]
                assert len(passage.text) - passage.server_token_start == 1
            before[user] = "" if passage.ended else passage.text


def test_acceptance_is_about_what_was_measured_of_the_tasks():
    simulator = started(num_users=30, requests={"tokens_high": 60}, seed=1)
    tested = accepted = 0
    for _ in range(12):
        simulator.step(equal_shares(3, 30))
        view = simulator.view()
        accepted += view.last_accepted.sum()
        tested += (view.last_accepted + (view.last_accepted < 3)).sum()
    mean = simulator.view().task_acceptance_mean.mean()
    assert tested > 600
    assert accepted / tested == pytest.approx(mean, abs=0.08)


def test_users_keep_their_tasks_and_ask_the_same_whatever_is_decided():
    tasks = {prompt.prompt: prompt.task for prompt in read_prompts(TINY / "prompts.jsonl")}
    worlds = []
    for lengths in (np.full((12, 3), 6), np.random.default_rng(1).integers(1, 4, (12, 3))):
        asked = [[] for _ in range(3)]
        begins = [True] * 3
        for passages, _ in played(started(seed=8), lengths):
            for user, passage in enumerate(passages):
                if begins[user]:
                    asked[user].append(passage.prompt)
                begins[user] = passage.ended
        assert all(len({tasks[prompt] for prompt in prompts}) == 1 for prompts in asked)
        # Two prompts a user, over and over.
        assert all(prompts[2:] == prompts[:-2] for prompts in asked)
        worlds.append(asked)
    for one, other in zip(*worlds, strict=True):
        common = min(len(one), len(other))
        assert common >= 2
        assert one[:common] == other[:common]


def test_a_prompt_that_comes_again_is_answered_otherwise():
    simulator = started(episode_rounds=40, requests={"prompts_per_user": 1})
    texts = {}
    for passages, _ in played(simulator, np.full((40, 3), 6)):
        for user, passage in enumerate(passages):
            if passage.ended:
                texts.setdefault((user, passage.prompt), []).append(passage.text)
    assert all(len(set(answers)) == len(answers) > 1 for answers in texts.values())


def test_a_request_ends_where_the_context_does():
    simulator = started(num_users=2, episode_rounds=60, max_draft_length=25, requests={"tokens_high": 10_000})
    context, longest = 512, 0
    ended = []
    for passages, _ in played(simulator, np.full((60, 2), 25)):
        longest = max(longest, *(len(passage.prompt) + len(passage.text) for passage in passages))
        ended += [passage.ended for passage in passages]
    assert longest <= context + 1
    assert any(ended)


def test_a_clairvoyant_knows_no_more_of_an_unwritten_text_than_its_task():
    view = started(num_envs=2).true_view()
    np.testing.assert_array_equal(view.acceptance_rate, view.task_acceptance_mean)
    assert {*np.unique(view.task_acceptance_mean)} <= {0.766, 0.748, 0.767}


# Models and prompts of one's own


def test_prompts_and_models_of_ones_own(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"task": "mine", "prompt": "class Mine:\n"}) + "\n", encoding="utf-8")
    requests = {
        "tasks": [{"name": "mine", "acceptance_mean": 0.7}],
        "live": {"draft": str(TINY / "draft"), "prompts": str(file)},
    }
    env = gym.make(HETEROGENEOUS, scenario="live", config={"num_users": 2, "requests": requests})
    env.reset(seed=0)
    assert len(env.step(env.action_space.sample())[4]["text"]) == 2
    with pytest.raises(ConfigError, match="tasks must be among those of the prompts, mine, got 'signature'"):
        started(requests={"live": {"prompts": str(file)}})


def test_a_prompt_that_does_not_fit_is_refused(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"task": "body", "prompt": 512 * "x"}) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="fewer tokens than the models' context of 512, got 512: 'xxx"):
        load_pair_and_prompts("tiny-draft", "tiny-target", str(file))


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"draft .* must hold config\.json or one GGUF file"):
        started(requests={"live": {"draft": str(tmp_path)}})


# Characters of several tokens


class Script:
    """Rounds that write bytes that are given."""

    context = 512

    def __init__(self, texts, rounds):
        self.texts = texts
        self._rounds = iter(rounds)

    def round(self, users, lengths):
        accepted, own = next(self._rounds)
        self.texts[0] += [*accepted, *own]
        return [Step(tuple(accepted), len(accepted), (*accepted, *own), False)]


def parts(rounds):
    """After each round: the text from before it, what its accepted drafts gained, and what the server's token did."""
    pair, _ = load_pair_and_prompts("tiny-draft", "tiny-target", "tiny-prompts")
    prompt = EncodedPrompt("p", pair.encode("p"))
    # In a byte-level tokenizer, bytes that are printable stand for themselves and others, in order, for what follows.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    numbers = pair.tokenizer.get_vocab()
    tokens = [tuple([numbers[names[byte]] for byte in part] for part in written) for written in rounds]
    env_index = EnvironmentTexts(make_config("live").requests.live, 10**6, [(prompt, np.random.default_rng(0))])
    env_index._texts = [list(prompt.tokens)]
    env_index._decoder = Script(env_index._texts, tokens)
    for _ in rounds:
        ((_, passage),) = env_index.round([4])
        yield (
            passage.text[: passage.accepted_start],
            passage.text[passage.accepted_start : passage.server_token_start],
            passage.text[passage.server_token_start :],
        )


EMOJI = "😀".encode()


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        # The emoji is complete with an accepted draft of the next round, with the server's own token, and at once.
        (
            [(b"ab" + EMOJI[:1], EMOJI[1:2]), (EMOJI[2:] + b"c", b"d")],
            [("", "ab\ufffd", ""), ("ab", "😀c", "d")],
        ),
        ([(b"ab", EMOJI[:1]), (EMOJI[1:3], EMOJI[3:])], [("", "ab", "\ufffd"), ("ab", "", "😀")]),
        ([(b"a" + EMOJI, b"b")], [("", "a😀", "b")]),
        ([(b"a" + EMOJI[:3], EMOJI[3:])], [("", "a", "😀")]),
        # A text may end within one.
        ([(b"a", b"b"), (EMOJI[:2], EMOJI[2:3])], [("", "a", "b"), ("ab", "\ufffd", "")]),
        # Three rounds for one.
        (
            [(EMOJI[:1], EMOJI[1:2]), (b"", EMOJI[2:3]), (b"", EMOJI[3:])],
            [("", "\ufffd", ""), ("\ufffd", "", ""), ("", "", "😀")],
        ),
        # Bytes that are no UTF-8 stay replacement characters, and the letter behind them is its own.
        ([(b"a", EMOJI[:1]), (b"b", b"c")], [("", "a", "\ufffd"), ("a\ufffd", "b", "c")]),
        ([(b"\xff", b"\xff"), (b"\xff", b"x")], [("", "\ufffd", "\ufffd"), ("\ufffd\ufffd", "\ufffd", "x")]),
        # The beginning of one character, broken off by another that is whole.
        ([(EMOJI[:2], EMOJI[:1]), (EMOJI[1:], b"x")], [("", "\ufffd", "\ufffd"), ("\ufffd", "😀", "x")]),
        ([("é".encode(), "€".encode()[:2]), ("€".encode()[2:], b"x")], [("", "é", "\ufffd"), ("é", "€", "x")]),
    ],
)
def test_a_character_of_several_tokens_belongs_to_the_one_that_completes_it(rounds, expected):
    assert list(parts(rounds)) == expected
