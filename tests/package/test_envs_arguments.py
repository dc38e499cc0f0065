"""What users hand to an environment besides actions: options, seeds, limits, sizes, and calls out of order."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import Error, ResetNeeded

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
SMALL = {"num_users": 3, "episode_rounds": 7}
HUGE = 10**4000


def make_scalar(**arguments):
    return gym.make(HETEROGENEOUS, **{"config": SMALL, **arguments})


def make_vector(num_envs=2, **arguments):
    return gym.make_vec(HETEROGENEOUS, num_envs, **{"config": SMALL, **arguments})


every_make = pytest.mark.parametrize("make", [make_scalar, make_vector], ids=["scalar", "vector"])


# Options of reset


@every_make
@pytest.mark.parametrize("options", [None, {}])
def test_reset_takes_no_options(make, options):
    assert make().reset(seed=0, options=options)[0].dtype == np.float32


@every_make
@pytest.mark.parametrize("options", [{"reset_mask": np.array([True, False])}, {"low": 0.1}, {1: 2}])
def test_an_option_is_refused_by_name_and_nothing_is_reset(make, options):
    env, twin = make(), make()
    for both in (env, twin):
        both.reset(seed=0)
        both.step(np.zeros(both.action_space.shape, dtype=np.float32))
    with pytest.raises(ValueError, match=rf"reset has no option {next(iter(options))!r}"):
        env.reset(seed=1, options=options)
    action = np.full(env.action_space.shape, 0.5, dtype=np.float32)
    np.testing.assert_array_equal(env.step(action)[0], twin.step(action)[0])


@every_make
@pytest.mark.parametrize("options", [[], "reset_mask", 3, [("reset_mask", 1)]])
def test_options_that_are_no_dict_are_refused(make, options):
    with pytest.raises(TypeError, match="options must be None or an empty dict, got"):
        make().unwrapped.reset(options=options)


def test_a_mask_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="the environments of a batch start and end together"):
        make_vector().reset(options={"reset_mask": np.ones(2, dtype=bool)})


# Seeds


@every_make
@pytest.mark.parametrize("seed", [-1, np.int64(-1), 1.0, "one", b"1", True, 1j, {1}, {0: 1, 1: 2}, object()])
def test_a_bad_seed_is_refused_with_what_is_allowed(make, seed):
    env = make()
    env.reset(seed=3)
    expected = make()
    expected.reset(seed=3)
    with pytest.raises(Error, match="seed must be None or an integer of at least 0, got"):
        env.reset(seed=seed)
    np.testing.assert_array_equal(env.reset()[0], expected.reset()[0])  # the generators are as they were


@pytest.mark.parametrize("seeds", [[1, -1], [0, 1.0], ["1", "2"], [None, True], np.array([0.0, 1.0])])
def test_a_bad_seed_in_a_list_is_refused_before_any_generator_is_seeded(seeds):
    envs, expected = make_vector(), make_vector()
    for both in (envs, expected):
        both.reset(seed=3)
    with pytest.raises(Error, match="seed must be None or an integer of at least 0, got"):
        envs.reset(seed=seeds)
    np.testing.assert_array_equal(envs.reset()[0], expected.reset()[0])


@pytest.mark.parametrize("seeds", [[], (1,), [1, 2, 3], np.arange(3), range(1)])
def test_a_wrong_number_of_seeds_is_refused(seeds):
    with pytest.raises(ValueError, match=f"seed must be an integer or have 2 entries, got {len(seeds)} entries"):
        make_vector().reset(seed=seeds)


@every_make
@pytest.mark.parametrize("convert", [np.int64, np.uint8])
def test_numpys_integers_are_seeds(make, convert):
    np.testing.assert_array_equal(make().reset(seed=convert(7))[0], make().reset(seed=7)[0])


@pytest.mark.parametrize("seeds", [(4, 5), range(4, 6), np.array([4, 5]), [np.int64(4), np.uint16(5)]])
def test_every_sequence_of_integers_has_seeds(seeds):
    np.testing.assert_array_equal(make_vector().reset(seed=seeds)[0], make_vector().reset(seed=4)[0])


@every_make
def test_a_seed_may_be_as_large_as_it_likes(make):
    first = make().reset(seed=HUGE)[0]
    np.testing.assert_array_equal(make().reset(seed=HUGE)[0], first)
    assert np.any(make().reset(seed=HUGE + 3)[0] != first)


# A limit on the steps of an episode


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("limit", [None, -1, 1, 5, 7, 8, 1000])
def test_a_limit_is_obeyed_as_by_scalar_environments(limit, mode):
    arguments = {"config": SMALL, "scenario": "thermal"}
    envs = gym.make_vec(HETEROGENEOUS, 2, max_episode_steps=limit, autoreset_mode=mode, **arguments)
    sync = gym.make_vec(
        HETEROGENEOUS,
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode(mode)},
        max_episode_steps=limit,
        **arguments,
    )
    np.testing.assert_array_equal(envs.reset(seed=1)[0], sync.reset(seed=1)[0])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(20):
        actions = rng.uniform(-1.0, 1.0, envs.action_space.shape).astype(np.float32)
        (*found, infos), (*expected, others) = envs.step(actions), sync.step(actions)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert infos.keys() == others.keys()
        ends += found[3].all()
    length = min(7, limit if limit and limit > 0 else 7)
    assert ends == (20 // length if mode == "SameStep" else (20 + 1) // (length + 1))


def test_a_numpy_integer_is_a_limit_and_the_spec_carries_it():
    envs = make_vector(max_episode_steps=np.int64(2))
    again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(envs.spec.to_json()))
    again.reset(seed=0)
    actions = np.zeros(again.action_space.shape, dtype=np.float32)
    assert [bool(again.step(actions)[3].all()) for _ in range(5)] == [False, True, False, False, True]


def test_a_limit_in_a_scalar_spec_holds_for_the_batch_as_well():
    envs = gym.make_vec(gym.make(HETEROGENEOUS, max_episode_steps=2, config=SMALL).spec, num_envs=2)
    envs.reset(seed=0)
    actions = np.zeros(envs.action_space.shape, dtype=np.float32)
    assert [bool(envs.step(actions)[3].all()) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("limit", [0, -2, 2.0, "5", True, np.nan, [5], -HUGE])
def test_a_bad_limit_is_refused(limit):
    with pytest.raises(ValueError, match=r"max_episode_steps must be None, -1 .* or an integer of at least 1, got"):
        make_vector(max_episode_steps=limit)


# Sizes


@pytest.mark.parametrize("num_envs", [0, -1, 1_000_001, HUGE, 2.0, "2", None, True, np.nan, [2]])
def test_a_bad_number_of_environments_is_refused(num_envs):
    with pytest.raises(ValueError, match=r"num_envs must be an integer in \[1, 1000000\], got"):
        make_vector(num_envs)


def test_a_numpy_integer_is_a_number_of_environments():
    envs = make_vector(np.int64(3))
    assert (envs.num_envs, type(envs.num_envs)) == (3, int)


@pytest.mark.parametrize("name", ["action", "reward", "render_mode", "draft_lengths"])
@pytest.mark.parametrize("value", [3, ["agent"], np.array(["agent", "optimal"]), {}, object()])
@every_make
def test_a_choice_that_is_no_string_is_refused(make, name, value):
    env = make()
    with pytest.raises(ValueError, match=f"{name} must be one of '"):
        type(env.unwrapped)(**{name: value})


@every_make
def test_an_unknown_argument_is_refused_in_pythons_words(make):
    # TorchRL tries `frameskip`, and goes on without it where the error says just this.
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'; allowed are scenario"):
        make(frameskip=1)


# Before the first reset


@every_make
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("step", lambda env, action: env.step(action)),
        ("round_view", lambda env, action: env.round_view()),
        ("true_round_view", lambda env, action: env.true_round_view()),
        ("decode_action", lambda env, action: env.decode_action(action)),
        ("encode_action", lambda env, action: env.encode_action(None)),
        ("step_allocation", lambda env, action: env.step_allocation(None)),
        ("render", lambda env, action: env.render()),
    ],
)
@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_what_needs_a_reset_says_so(make, mode, name, call):
    env = make(render_mode=mode).unwrapped
    with pytest.raises(ResetNeeded, match=f"{name} was called before the first reset; call reset first"):
        call(env, np.zeros(env.action_space.shape, dtype=np.float32))


@every_make
def test_integers_that_python_refuses_to_print_are_refused_as_others_are(make):
    unprintable = 10**5000
    for seed in (-unprintable, [unprintable, -unprintable]):
        with pytest.raises(
            Error, match=r"seed must be None or an integer of at least 0, got (an integer of 16610 bits|a list)"
        ):
            make().reset(seed=seed)
    with pytest.raises(ValueError, match=r"num_envs must be .*got an integer of 16610 bits"):
        make_vector(unprintable)
    env = make()
    env.reset(seed=0)
    with pytest.raises(TypeError, match=r"action must be .*got a list"):
        env.unwrapped.step([unprintable] * 6)
