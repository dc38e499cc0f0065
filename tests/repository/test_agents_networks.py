"""Networks for sets of users, the policy around them, and trained policies as controllers."""

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from multispin_agents import AGENTS
from multispin_agents.algorithms import Hyperparameters, load_hyperparameters, make_agent, make_training_env
from multispin_agents.lessons import take_lessons
from multispin_agents.networks import FEATURES, NUM_INPUTS, ActorCritic, NetworkConfig, user_inputs
from multispin_agents.policy import SHIPPED, LearnedController
from multispin_agents.sb3_policies import ActionCritics, AllocationPolicy, SquashedActor
from multispin_baselines import make_controller
from stable_baselines3 import PPO

from multispin_env import Simulator, SystemConfig, make_config
from multispin_env.core import RoundView
from multispin_env.envs.actions import make_action_codec
from multispin_env.envs.observations import ObservationCodec
from multispin_env.evaluation.rollout import play
from multispin_env.integrations.sb3 import make_sb3_vec_env

Network = TypeVar("Network", bound=torch.nn.Module)

CONFIG = make_config("mobile", config={"num_users": 6})

NETWORK = NetworkConfig.of("equivariant", 16, CONFIG)


def seen(config: SystemConfig, num_envs: int = 5, rounds: int = 3) -> RoundView:
    simulator = Simulator(config, num_envs)
    simulator.reset([np.random.default_rng(env_index) for env_index in range(num_envs)])
    controller = LearnedController("any", trained("equivariant", config).actor, "residual", config)
    for _ in range(rounds):
        simulator.step(controller.act(simulator.view()))
    return simulator.view()


def observed(config: SystemConfig) -> torch.Tensor:
    return torch.from_numpy(ObservationCodec(config).encode(seen(config)))


def trained(network: str, config: SystemConfig = CONFIG, memory: int = 0, outputs: int = 2) -> ActorCritic:
    """A network whose outputs differ between users, as after training."""
    return varied(ActorCritic(NetworkConfig.of(network, 16, config, memory, outputs)))


def varied(network: Network) -> Network:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.4)
    return network


def values_of(agent: str, **changes: object) -> Hyperparameters:
    return load_hyperparameters(agent, ["mobile"], {"num_envs": 4, "n_steps": 4, "batch_size": 16, **changes})


def permuted(values: torch.Tensor, order: list[int]) -> torch.Tensor:
    return values.reshape(len(values), -1, len(order))[:, :, order].flatten(1)


def test_permuting_the_users_permutes_the_actions_and_keeps_the_value() -> None:
    network, observation, order = trained("equivariant"), observed(CONFIG), [3, 0, 5, 1, 2, 4]
    action, value = network.mean_action(observation), network.value(observation)
    assert action.std() > 0.1
    shuffled = permuted(observation, order)
    assert torch.allclose(network.mean_action(shuffled), permuted(action, order), atol=1e-5)
    assert torch.allclose(network.value(shuffled), value, rtol=1e-4, atol=1e-4)
    plain = trained("mlp")
    assert not torch.allclose(plain.mean_action(shuffled), permuted(plain.mean_action(observation), order), atol=1e-2)


def test_critics_of_actions_value_the_same_set_of_users_alike() -> None:
    critics, observation, order = varied(ActionCritics(NETWORK)), observed(CONFIG), [3, 0, 5, 1, 2, 4]
    actions = torch.rand(len(observation), 12) * 2.0 - 1.0
    values, others = critics(observation, actions), critics(permuted(observation, order), permuted(actions, order))
    assert all(torch.allclose(mine, theirs, rtol=1e-4) for mine, theirs in zip(values, others, strict=True))
    assert not torch.allclose(values[0], critics(observation, permuted(actions, order))[0], rtol=1e-2)
    assert not torch.allclose(*values)


def test_squashed_actions_have_the_density_that_the_actor_tells() -> None:
    torch.manual_seed(0)
    config = make_config("mobile", config={"num_users": 1})
    actor, observation = SquashedActor(NetworkConfig.of("equivariant", 8, config), 0.7), observed(config)[:1]
    actions, log_probability = actor.action_log_prob(observation.expand(40_000, -1))
    assert actions.shape == (40_000, 2)
    # The mean of an inverse density is the area that it covers: here all of [-1, 1] twice but for the far tails.
    within = (actions.abs() < 0.8).all(dim=1)
    assert torch.mean(torch.exp(-log_probability) * within).item() == pytest.approx(1.6**2, rel=0.05)


def test_memory_is_each_user_s_own_and_goes_through_a_sequence_as_it_goes_through_rounds() -> None:
    actor, order = trained("equivariant", memory=5).actor, [3, 0, 5, 1, 2, 4]
    rounds = [torch.from_numpy(ObservationCodec(CONFIG).encode(seen(CONFIG, rounds=number))) for number in (1, 2, 3)]
    memory = shuffled = None
    actions = []
    for observation in rounds:
        action, memory = actor.mean_action(observation, memory)
        permuted_action, shuffled = actor.mean_action(permuted(observation, order), shuffled)
        assert torch.allclose(permuted_action, permuted(action, order), atol=1e-5)
        actions.append(action)
    assert not torch.allclose(
        actions[2], actor.mean_action(rounds[2])[0], rtol=0.0, atol=1e-5
    )  # what was before matters
    sequence = torch.stack(rounds, dim=1).flatten(0, 1)  # environment after environment
    together, after = actor.mean_action(sequence, actor.new_memory(len(rounds[0]), CONFIG.num_users))
    assert torch.allclose(together, torch.stack(actions, dim=1).flatten(0, 1), atol=1e-5)
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(after, memory, strict=True))


def test_a_controller_with_memory_forgets_when_episodes_begin_and_is_not_disturbed_by_timing() -> None:
    config = CONFIG.updated({"episode_rounds": 6})
    controller = LearnedController("mine", trained("equivariant", memory=5).actor, "residual", config)
    first, again = (play(controller, config, range(3)) for _ in range(2))
    assert [episode.tokens for episode in first] == [episode.tokens for episode in again]
    controller.reset(3)
    controller.act(seen(config, num_envs=3))
    with pytest.raises(
        ValueError, match="'mine' remembers 3 environments and is shown 2; call reset where episodes begin"
    ):
        controller.act(seen(config, num_envs=2))
    # Environments in another order are timed in other rounds.
    assert [episode.tokens for episode in play(controller, config, [2, 1, 0])][::-1] == [e.tokens for e in first]


def test_others_matter_to_a_user_s_action() -> None:
    network, observation = trained("equivariant"), observed(CONFIG)
    changed = observation.clone()
    changed.reshape(len(changed), len(FEATURES), 6)[:, 1, 5] *= 0.3  # user 5's channel
    mine = [0, 6]
    assert not torch.allclose(network.mean_action(changed)[:, mine], network.mean_action(observation)[:, mine])


def test_inputs_are_finite_and_about_unit_size_everywhere() -> None:
    network = NetworkConfig.of("equivariant", 8, CONFIG)
    inputs = user_inputs(observed(CONFIG), network)
    assert inputs.shape == (5, 6, NUM_INPUTS)
    assert inputs.abs().mean() < 2.0
    space = ObservationCodec(CONFIG).space
    for extreme in (space.low, space.high):
        assert user_inputs(torch.from_numpy(extreme)[None], network).isfinite().all()


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("network", ["equivariant", "mlp"])
def test_a_new_residual_agent_starts_near_the_closed_form(network: str, agent: str) -> None:
    values = values_of(agent)
    env = make_training_env(CONFIG, "residual", 4)
    new = make_agent(env, CONFIG, network, values, 0)
    env.seed(0)
    observation = env.reset()
    mean, _ = new.predict(observation, deterministic=True)
    drawn, _ = new.predict(observation)
    assert np.abs(mean).max() < 0.05
    assert 0.5 * values.initial_std < np.std(drawn - mean) < 2.0 * values.initial_std


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize(
    ("network", "layer"), [("equivariant", "direct"), ("equivariant", "lengths"), ("mlp", "direct")]
)
def test_an_agent_learns_through_the_adapter_and_can_be_saved_whole(
    network: str, layer: str, name: str, tmp_path: Path
) -> None:
    env = make_training_env(CONFIG.updated({"episode_rounds": 6}), layer, 4)  # ends and restarts while it learns
    agent = make_agent(env, CONFIG, network, values_of(name), 0)
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    agent.learn(64)
    assert all(not torch.equal(old, new) for old, new in zip(before, agent.policy.parameters(), strict=True))
    agent.save(tmp_path / "agent")
    env.seed(0)
    observation = env.reset()
    again = type(agent).load(tmp_path / "agent", device="cpu")
    assert np.array_equal(
        again.predict(observation, deterministic=True)[0], agent.predict(observation, deterministic=True)[0]
    )


def test_lessons_bring_the_actions_near_the_teacher_s_and_the_values_near_the_rewards() -> None:
    torch.manual_seed(0)
    network = ActorCritic(NetworkConfig.of("equivariant", 16, CONFIG))
    env, teacher = make_training_env(CONFIG, "direct", 32), make_controller("predictive", "llama2")

    def errors() -> tuple[float, float]:
        env.seed(7)
        observations = torch.as_tensor(env.reset())
        wanted = env.env_method("encode_action", teacher.act(env.env_method("round_view")[0]))[0]
        with torch.no_grad():
            actions, values, _ = network(observations)
        rewards = env.step(actions.numpy())[1]
        return float(np.mean((actions.numpy() - wanted) ** 2)), float(np.mean((values[:, 0].numpy() - rewards) ** 2))

    before = errors()
    played: list[int] = []
    take_lessons(network, teacher, [env], 9_600, played.append)
    assert sum(played) == 9_600
    assert errors()[0] < 0.5 * before[0]
    assert errors()[1] < 0.5 * before[1]


def test_hyperparameters_come_from_the_file_and_unknown_ones_are_refused() -> None:
    for agent in AGENTS:
        assert load_hyperparameters(agent, ["mobile"], {}).gamma == 0.0
        assert load_hyperparameters(agent, ["mobile"], {"gamma": 0.5}).gamma == 0.5
    plain: Any
    direct: Any
    taught: Any
    plain, direct, taught = (
        load_hyperparameters("ppo", sections, {}) for sections in ([], ["direct"], ["direct", "taught"])
    )
    assert plain.learning_rate < direct.learning_rate > taught.learning_rate
    assert plain.batch_size == direct.batch_size == taught.batch_size
    with pytest.raises(ValueError, match=r"ppo has no field 'discount'\. Its fields are: total_timesteps, "):
        load_hyperparameters("ppo", ["mobile"], {"discount": 0.5})
    with pytest.raises(ValueError, match=r"sac has no field 'clip_range'\. Its fields are: total_timesteps, "):
        load_hyperparameters("sac", ["mobile"], {"clip_range": 0.5})
    with pytest.raises(ValueError, match="agent must be one of 'ppo', 'sac', 'recurrent-ppo', got 'td3'"):
        load_hyperparameters("td3", ["mobile"], {})
    with pytest.raises(ValueError, match="network must be one of 'equivariant', 'mlp', got 'gnn'"):
        NetworkConfig.of("gnn", 8, CONFIG)


def test_a_memory_is_trained_with_many_users_and_little_noise_where_episodes_end_in_between() -> None:
    # Sequences of different lengths are padded: what stands there must have no part in the gradient.
    config = CONFIG.updated({"num_users": 40, "episode_rounds": 5})
    values = values_of("recurrent-ppo", n_steps=8, initial_std=0.03)
    agent = make_agent(make_training_env(config, "residual", 4), config, "equivariant", values, 0)
    agent.learn(64)
    assert all(parameter.isfinite().all() for parameter in agent.policy.parameters())


@pytest.mark.parametrize("layer", ["residual", "direct", "lengths"])
@pytest.mark.parametrize("memory", [0, 5])
def test_a_saved_policy_acts_as_before_and_serves_any_number_of_users(memory: int, layer: str, tmp_path: Path) -> None:
    controller = LearnedController(
        "first", trained("equivariant", memory=memory, outputs=1 if layer == "lengths" else 2).actor, layer, CONFIG
    )
    controller.save(tmp_path / "second", {"seed": 7})
    loaded = LearnedController.load(tmp_path / "second")
    assert (loaded.name, loaded.layer, loaded.trained_on) == ("second", layer, CONFIG)
    assert json.loads((tmp_path / "second" / "card.json").read_text())["seed"] == 7
    for users in (1, 5, 6, 50):
        view = seen(CONFIG.updated({"num_users": users}))
        for player in (loaded, controller):
            player.reset(5)
        for ours, theirs in zip(loaded.act(view), controller.act(view), strict=True):
            assert ours.shape == (5, users)
            assert np.array_equal(ours, theirs)
    loaded.reset(5)
    together = loaded.act(view)
    loaded.reset(1)
    alone = loaded.act(view.environment(2))
    assert np.array_equal(alone.draft_length[0], together.draft_length[2])


def test_a_policy_says_where_the_system_does_not_fit() -> None:
    controller = LearnedController("mine", trained("equivariant").actor, "residual", CONFIG)
    with pytest.warns(UserWarning, match=r"'mine' was trained on another system: .*payload_bits \(31744.0 in training"):
        controller.act(seen(make_config("mobile", "qwen3.5", {"num_users": 6})))
    with pytest.raises(ValueError, match="max_draft_length=25 and cannot read 12"):
        controller.act(seen(CONFIG.updated({"max_draft_length": 12})))
    plain = LearnedController("plain", trained("mlp").actor, "residual", CONFIG)
    plain.act(seen(CONFIG))
    with pytest.raises(ValueError, match="has an mlp network for 6 users and cannot serve 5"):
        plain.act(seen(CONFIG.updated({"num_users": 5})))


def test_a_controller_s_decision_is_explained_to_the_closed_form() -> None:
    view = seen(make_config("mobile"), num_envs=12)
    residual = make_action_codec("residual", view.config)
    for name in ("heterogeneous", "predictive"):
        decided = make_controller(name, "llama2").act(view)
        repeated = residual.decode(residual.encode(decided, view), view)
        assert np.mean(np.abs(repeated.draft_length - decided.draft_length)) < 0.1, name
        assert np.median(np.abs(repeated.bandwidth_share / decided.bandwidth_share - 1.0)) < 0.05, name


def test_the_policy_needs_no_arguments_and_serves_users_alike() -> None:
    env = make_sb3_vec_env("multispin_env/Heterogeneous-v0", 2, scenario="mobile", config={"num_users": 4})
    agent = PPO(AllocationPolicy, env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu")
    agent.learn(32)
    observations = env.reset()
    order = np.array([2, 0, 3, 1])
    permuted = observations.reshape(2, -1, 4)[:, :, order].reshape(2, -1)
    actions, others = (agent.predict(seen, deterministic=True)[0] for seen in (observations, permuted))
    np.testing.assert_allclose(actions.reshape(2, 2, 4)[:, :, order].reshape(2, -1), others, atol=1e-5)
    with pytest.raises(ValueError, match="observations must have 11 numbers a user, got 10 numbers"):
        NetworkConfig.of_spaces(10, 2)
    with pytest.raises(
        ValueError, match="actions must have the same numbers for every user, got 3 numbers for 2 users"
    ):
        NetworkConfig.of_spaces(22, 3)


@pytest.mark.parametrize("folder", sorted(card.parent for card in SHIPPED.glob("*/card.json")), ids=lambda at: at.name)
def test_shipped_policies_beat_the_paper_s_controller_on_unseen_seeds(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    policy = LearnedController.load(folder.name)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    config, seeds = make_config(card["scenario"], card["model_pair"]), range(2_000_000, 2_000_012)
    ours, theirs = (
        np.median([episode.goodput_tok_s for episode in play(controller, config, seeds, timed=False)])
        for controller in (policy, make_controller("heterogeneous", card["model_pair"]))
    )
    assert ours > (1.01 if card["scenario"] == "requests" else 1.1) * theirs
