"""Actions: what they mean, both ways, and what is refused."""

import re

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from multispin_env import Allocation
from multispin_env.optimal import RoundProblem, equalize_bandwidth

KINDS = ("Homogeneous", "Heterogeneous")
UNIT = st.floats(-1.0, 1.0, width=32)


def make(kind="Heterogeneous", users=20, longest=25, **arguments):
    config = {"num_users": users, "max_draft_length": longest}
    env = gym.make(f"multispin_env/{kind}-v0", config=config, **arguments).unwrapped
    env.reset(seed=0)
    return env


ENVS = {(kind, bandwidth): make(kind, 5, bandwidth=bandwidth) for kind in KINDS for bandwidth in ("agent", "optimal")}


def random_lengths(env, kind, rng):
    users, longest = env.config.num_users, env.config.max_draft_length
    return rng.integers(1, longest, 1 if kind == "Homogeneous" else users, endpoint=True) * np.ones(users, np.int64)


def one_takes_all(users, rest):
    """All but the last user have ``rest``."""
    return np.append(np.full(users - 1, rest), 1.0 - rest * (users - 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [1, 2, 25, 1000, 10_000])
@pytest.mark.parametrize("users", [1, 2, 3, 20, 400])
def test_an_allocation_survives_its_encoding(users, longest, kind):
    env, rng = make(kind, users, longest), np.random.default_rng(0)
    shares = [np.full(users, 1.0 / users), *rng.dirichlet(np.ones(users), 5), *rng.dirichlet(np.full(users, 0.1), 5)]
    shares += [one_takes_all(users, rest) for rest in (0.0, 1e-12, 1e-9, 1e-6, 1e-4)]
    shares += [share[::-1] for share in shares]
    for share in shares:
        allocation = Allocation(random_lengths(env, kind, rng), share)
        action = env.encode_action(allocation)
        assert env.action_space.contains(action)
        decoded = env.decode_action(action)
        np.testing.assert_array_equal(decoded.draft_length, allocation.draft_length)
        np.testing.assert_allclose(decoded.bandwidth_share, share, rtol=0.0, atol=1e-6)


def test_thousands_of_users_survive_their_encoding():
    # The box reaches shares down to e^-20 of the largest. Below, two thousand users are off by more than 1e-6.
    env, rng = make(users=2000), np.random.default_rng(0)
    for share in (*rng.dirichlet(np.ones(2000), 5), *rng.dirichlet(np.full(2000, 0.1), 5), one_takes_all(2000, 3e-9)):
        allocation = Allocation(random_lengths(env, "Heterogeneous", rng), share)
        decoded = env.decode_action(env.encode_action(allocation))
        np.testing.assert_array_equal(decoded.draft_length, allocation.draft_length)
        np.testing.assert_allclose(decoded.bandwidth_share, share, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [1, 2, 7, 25, 10_000])
def test_every_length_survives_its_encoding(longest, kind):
    env = make(kind, 1, longest, bandwidth="optimal")
    for length in {*range(1, min(longest, 500) + 1), longest // 2 + 1, longest - longest // 3, longest}:
        decoded = env.decode_action(env.encode_action(Allocation(np.array([length]), np.ones(1))))
        assert decoded.draft_length == length


@pytest.mark.parametrize(("kind", "bandwidth"), ENVS)
@given(data=st.data())
def test_every_action_in_the_box_is_a_valid_work_conserving_allocation(kind, bandwidth, data):
    env = ENVS[kind, bandwidth]
    action = data.draw(arrays.arrays(np.float32, env.action_space.shape, elements=UNIT))
    length, share = env.decode_action(action)
    assert length.dtype == np.int64
    assert length.shape == share.shape == (5,)
    assert np.all((length >= 1) & (length <= 25))
    assert kind == "Heterogeneous" or len(set(length)) == 1
    assert np.all(share > 0.0)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("longest", [1, 3, 25])
def test_lengths_cut_the_range_into_equal_bins(longest):
    env = make(users=1, longest=longest)

    def length(number):
        return int(env.decode_action(np.array([number, 0.0], dtype=np.float32)).draft_length[0])

    assert (length(-1.0), length(1.0)) == (1, longest)
    numbers = np.linspace(-1.0, 1.0, 1001, dtype=np.float32)
    lengths = np.array([length(number) for number in numbers])
    assert np.all(np.diff(lengths) >= 0)
    counts = np.bincount(lengths)[1:]
    assert len(counts) == longest
    assert np.all(np.abs(counts - 1001 / longest) <= 2)


def test_logits_are_the_documented_softmax():
    env = make(users=3)
    logits = np.array([-0.5, 0.1, 0.9], dtype=np.float32)
    action = np.concatenate([np.zeros(3, dtype=np.float32), logits])
    weight = np.exp(np.sinh(3.0 * logits.astype(np.float64)))
    np.testing.assert_allclose(env.decode_action(action).bandwidth_share, weight / weight.sum(), rtol=1e-12)


def test_the_middle_of_the_box_shares_the_band_equally():
    env = make()
    np.testing.assert_allclose(env.decode_action(np.zeros(40)).bandwidth_share, 0.05, rtol=1e-12)


def test_a_step_plays_the_decoded_allocation():
    env = make()
    allocation = Allocation(np.arange(1, 21), one_takes_all(20, 0.01))
    info = env.step(env.encode_action(allocation))[4]
    np.testing.assert_array_equal(info["draft_length"], allocation.draft_length)
    np.testing.assert_allclose(info["bandwidth_share"], allocation.bandwidth_share, atol=1e-6)


def test_a_batch_of_one_is_encoded_as_controllers_return_it():
    env = make()
    length, share = np.arange(1, 21), np.full(20, 0.05)
    np.testing.assert_array_equal(
        env.encode_action(Allocation(length[np.newaxis], share[np.newaxis])),
        env.encode_action(Allocation(length, share)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_optimal_bandwidth_equalizes_what_is_observed(world, kind):
    env, rng = make(kind, bandwidth="optimal", **world), np.random.default_rng(1)
    for _ in range(30):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        view, allocation = env.round_view(), env.decode_action(action)
        latency_s, shares = equalize_bandwidth(RoundProblem.from_view(view), allocation.draft_length)
        info = env.step(action)[4]
        np.testing.assert_array_equal(info["bandwidth_share"], shares[0])
        # All drafts are due at once, as far as can be seen at the start of the round.
        rate_bps = shares[0] * env.config.bandwidth_hz * view.observed_spectral_efficiency[0]
        upload_s = env.config.payload_bits * info["draft_length"] / rate_bps
        np.testing.assert_allclose(info["drafting_s"] + upload_s, latency_s[0], rtol=1e-9)
        if world["scenario"] in ("paper", "requests"):
            assert info["multi_access_s"] == pytest.approx(latency_s[0], rel=1e-9)


# Misuse


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
        ([1, 2], [0.2, 0.3, 0.5], r"draft_length must be .* of shape \(num_envs, 3\) or \(3,\), got shape \(1, 2\)"),
        ([1, 2, 3], [0.5, 0.5], r"bandwidth_share must be .* of shape \(num_envs, 3\) or \(3,\), got shape \(1, 2\)"),
        ([1, 2, 3], [0.2, 0.3, 0.4], "bandwidth_share must be non-negative and sum to 1"),
        ([1, 2, 3], [-0.1, 0.6, 0.5], "bandwidth_share must be non-negative and sum to 1"),
        ([1, 2, 3], [np.nan, 0.5, 0.5], "bandwidth_share must be non-negative and sum to 1"),
        ([1, 2, 3], [np.inf, 0.5, 0.5], "bandwidth_share must be non-negative and sum to 1"),
        ([1, 2, 10**18], [0.2, 0.3, 0.5], r"draft_length must be integers in \[1, 25\]"),
        (np.zeros((0, 3), dtype=int), np.zeros((0, 3)), r"draft_length must be .* got shape \(0, 3\)"),
        (np.ones((1, 1, 3), dtype=int), [0.2, 0.3, 0.5], r"draft_length must be .* got shape \(1, 1, 3\)"),
        (np.ones((2, 3), dtype=int), [0.2, 0.3, 0.5], "as long as each other, got 2 and 1"),
        (np.ones((2, 3), dtype=int), [[0.2, 0.3, 0.5]] * 2, "one for 1 environments, got one for 2"),
    ],
)
def test_an_impossible_allocation_is_refused(length, share, message):
    with pytest.raises(ValueError, match=message):
        make(users=3).encode_action(Allocation(np.array(length), np.array(share)))


@pytest.mark.parametrize("num_envs", [None, 3])
@pytest.mark.parametrize(
    "wrong", [None, "ab", {"draft_length": 1, "bandwidth_share": 1}, (1, 2, 3), 7, np.ones((2, 3))]
)
def test_what_is_no_allocation_is_refused(wrong, num_envs):
    env = make(users=3) if num_envs is None else gym.make_vec("multispin_env/Heterogeneous-v0", num_envs).unwrapped
    with pytest.raises(TypeError, match="allocation must be an Allocation of draft_length and bandwidth_share, got"):
        env.encode_action(wrong)


@pytest.mark.parametrize("wrong", [None, "ab", [None] * 3, [[1], [1, 2]], [1j, 0, 0], [True, False, False], [10**400]])
def test_an_allocation_of_no_numbers_is_refused(wrong):
    env = make(users=3)
    with pytest.raises(TypeError, match=r"draft_length must be integers in \[1, 25\] of shape .* got"):
        env.encode_action(Allocation(wrong, np.full(3, 1.0 / 3.0)))
    with pytest.raises(TypeError, match=r"bandwidth_share must be non-negative and sum to 1 .* got"):
        env.encode_action(Allocation(np.ones(3, dtype=np.int64), wrong))


def test_a_homogeneous_environment_refuses_unequal_lengths():
    shares = np.full(3, 1.0 / 3.0)
    with pytest.raises(ValueError, match="draft_length must be the same for all users of a homogeneous environment"):
        make("Homogeneous", 3).encode_action(Allocation(np.array([4, 4, 5]), shares))
    with pytest.raises(ValueError, match="homogeneous"):
        make("Homogeneous", 3, bandwidth="optimal").encode_action(Allocation(np.array([4, 4, 5]), shares))
