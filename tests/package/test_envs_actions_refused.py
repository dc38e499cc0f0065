"""Actions and allocations that are none: what is refused, and how."""

import re

import gymnasium as gym
import numpy as np
import pytest

from multispin_env import Allocation


def make(kind="Heterogeneous", users=20, longest=25, **arguments):
    config = {"num_users": users, "max_draft_length": longest}
    env = gym.make(f"multispin_env/{kind}-v0", config=config, **arguments).unwrapped
    env.reset(seed=0)
    return env


NO_NUMBERS = {
    "none": None,
    "text": "0",
    "texts": ["a"] * 10,
    "bytes": b"\0" * 10,
    "digits": ["0.5"] * 10,
    "a dict": {"action": [0.0] * 10},
    "a set": {0.0, 1.0},
    "a generator": (0.0 for _ in range(10)),
    "nones": [None] * 10,
    "ragged": [[0.0], [0.0, 0.0]],
    "complex": np.zeros(10, dtype=complex),
    "objects": np.zeros(10, dtype=object),
    "bools": np.zeros(10, dtype=bool),
    "a bool": True,
    "dates": np.zeros(10, dtype="datetime64[s]"),
    "records": np.zeros(10, dtype=[("a", float)]),
    "huge integers": [10**400] * 10,
    "an action and more": ([0.0] * 10, None),
    "a class": np.ndarray,
    "a function": np.zeros,
}
WRONG_SHAPES = {
    "a number": 0.5,
    "nothing": [],
    "a shape too few": np.zeros(9),
    "too many": np.zeros(11),
    "an axis too many": np.zeros((10, 1)),
    "two empty axes": np.zeros((0, 0)),
    "integers": np.zeros(3, dtype=np.int64),
}


@pytest.fixture(params=["scalar", "batch of one", "batch"])
def started(request):
    """A started environment with ten numbers an action."""
    num_envs = {"batch of one": 1, "batch": 2}.get(request.param)
    if num_envs is None:
        return make(users=5)
    envs = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs, config={"num_users": 5})
    envs.reset(seed=0)
    return envs


ALLOWED = (
    r"action must be an array of real numbers in \[-1, 1\] of shape "
    r"(\(\d, 10\) \(num_envs, numbers\)|\(10,\) \(numbers,\)), got "
)


@pytest.mark.parametrize("action", NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
def test_what_is_no_array_of_numbers_is_refused(started, action):
    for use in (started.step, started.unwrapped.decode_action):
        with pytest.raises(TypeError, match=ALLOWED):
            use(action)
    assert not started.unwrapped.round_view().last_draft_length.any()  # no round was played


@pytest.mark.parametrize("action", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_an_action_of_another_shape_is_refused(started, action):
    for use in (started.step, started.unwrapped.decode_action):
        with pytest.raises(ValueError, match=rf"{ALLOWED}shape {re.escape(str(np.shape(action)))}"):
            use(action)
    assert not started.unwrapped.round_view().last_draft_length.any()


@pytest.mark.parametrize("convert", [np.ndarray.tolist, np.float64, np.float16, np.int8, np.uint8])
def test_numbers_of_every_kind_are_accepted(started, convert):
    action = np.ones(started.action_space.shape, dtype=np.float32)
    expected = started.unwrapped.decode_action(action)
    for one, other in zip(started.unwrapped.decode_action(convert(action)), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_decoding_and_encoding_leave_what_they_are_given_as_it_was(started):
    env, rng = started.unwrapped, np.random.default_rng(0)
    action = rng.uniform(-1.0, 1.0, env.action_space.shape)
    before = action.copy()
    length, share = env.decode_action(action)
    env.step(action)
    np.testing.assert_array_equal(action, before)
    lengths, shares = length.copy(), share.copy()
    env.encode_action(Allocation(length, share))[...] = 0.0
    np.testing.assert_array_equal(length, lengths)
    np.testing.assert_array_equal(share, shares)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda action: action[..., :-1], rf"{ALLOWED}shape \((\d, )?9,?\)"),
        (lambda action: np.append(action, action, -1), rf"{ALLOWED}shape \((\d, )?20,?\)"),
        (lambda action: action[..., np.newaxis], rf"{ALLOWED}shape \((\d, )?10, 1\)"),
        (lambda action: action[..., 0], rf"{ALLOWED}shape \((\d,)?\)"),
        (
            lambda action: np.where(np.arange(10) == 3, np.nan, action),
            rf"{ALLOWED}.*nan.* at (environment 0, )?number 3",
        ),
        (
            lambda action: np.where(np.arange(10) == 9, 1.001, action),
            rf"{ALLOWED}.*1.001.* at (environment 0, )?number 9",
        ),
        (
            lambda action: np.where(np.arange(10) == 0, -np.inf, action),
            rf"{ALLOWED}.*-inf.* at (environment 0, )?number 0",
        ),
    ],
)
def test_a_bad_action_is_refused_with_what_is_wrong_and_the_round_is_not_played(change, message, started):
    action = np.zeros(started.action_space.shape, dtype=np.float32)
    before = started.unwrapped.round_view().observed_spectral_efficiency
    for use in (started.step, started.unwrapped.decode_action):
        with pytest.raises(ValueError, match=message):
            use(change(action))
    np.testing.assert_array_equal(started.unwrapped.round_view().observed_spectral_efficiency, before)
    started.step(action)


@pytest.mark.parametrize(
    ("length", "share", "message"),
    [
        ([0, 1, 2], [0.2, 0.3, 0.5], r"draft_length must be integers in \[1, 25\]"),
        ([1, 2, 26], [0.2, 0.3, 0.5], r"draft_length must be integers in \[1, 25\]"),
        ([1.0, 2.0, 3.0], [0.2, 0.3, 0.5], r"draft_length must be integers in \[1, 25\]"),
        ([1, 2], [0.2, 0.3, 0.5], r"draft_length must be .* of shape \(1, 3\) or \(3,\), got shape \(1, 2\)"),
        ([1, 2, 3], [0.5, 0.5], r"bandwidth_share must be .* of shape \(1, 3\) or \(3,\), got shape \(1, 2\)"),
        ([1, 2, 3], [0.2, 0.3, 0.4], "bandwidth_share must be above 0 and sum to 1"),
        ([1, 2, 3], [-0.1, 0.6, 0.5], "bandwidth_share must be above 0 and sum to 1"),
        ([1, 2, 3], [np.nan, 0.5, 0.5], "bandwidth_share must be above 0 and sum to 1"),
        ([1, 2, 3], [np.inf, 0.5, 0.5], "bandwidth_share must be above 0 and sum to 1"),
        ([1, 2, 10**18], [0.2, 0.3, 0.5], r"draft_length must be integers in \[1, 25\]"),
        (np.zeros((0, 3), dtype=int), np.zeros((0, 3)), r"draft_length must be .* got shape \(0, 3\)"),
        (np.ones((1, 1, 3), dtype=int), [0.2, 0.3, 0.5], r"draft_length must be .* got shape \(1, 1, 3\)"),
        (np.ones((2, 3), dtype=int), [0.2, 0.3, 0.5], r"draft_length must be .* got shape \(2, 3\)"),
        ([1, 2, 3], [[0.2, 0.3, 0.5]] * 2, r"bandwidth_share must be .* got shape \(2, 3\)"),
        ([1, 2, 3], [0.0, 0.5, 0.5], "bandwidth_share must be above 0 and sum to 1"),
    ],
)
def test_an_impossible_allocation_is_refused(length, share, message):
    env = make(users=3)
    for use in (env.encode_action, env.step_allocation):
        with pytest.raises(ValueError, match=message):
            use(Allocation(np.array(length), np.array(share)))
    assert not env.round_view().last_draft_length.any()  # no round was played


@pytest.mark.parametrize("num_envs", [None, 3])
@pytest.mark.parametrize(
    "wrong", [None, "ab", {"draft_length": 1, "bandwidth_share": 1}, (1, 2, 3), 7, np.ones((2, 3))]
)
def test_what_is_no_allocation_is_refused(wrong, num_envs):
    env = make(users=3) if num_envs is None else gym.make_vec("multispin_env/Heterogeneous-v0", num_envs).unwrapped
    env.reset(seed=0)
    with pytest.raises(TypeError, match="allocation must be an Allocation of draft_length and bandwidth_share, got"):
        env.encode_action(wrong)


@pytest.mark.parametrize("wrong", [None, "ab", [None] * 3, [[1], [1, 2]], [1j, 0, 0], [True, False, False], [10**400]])
def test_an_allocation_of_no_numbers_is_refused(wrong):
    env = make(users=3)
    with pytest.raises(TypeError, match=r"draft_length must be integers in \[1, 25\] of shape .* got"):
        env.encode_action(Allocation(wrong, np.full(3, 1.0 / 3.0)))
    with pytest.raises(TypeError, match=r"bandwidth_share must be above 0 and sum to 1 .* got"):
        env.encode_action(Allocation(np.ones(3, dtype=np.int64), wrong))


def test_a_homogeneous_environment_refuses_unequal_lengths():
    shares = np.full(3, 1.0 / 3.0)
    env = make("Homogeneous", 3)
    for use in (env.encode_action, env.step_allocation):
        with pytest.raises(ValueError, match="draft_length must be the same for all users of a homogeneous environ"):
            use(Allocation(np.array([4, 4, 5]), shares))
