"""Policies from folders: found by a clear rule, run by nothing in them, refused by name where they are damaged."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController, find_policy
from multispin_agents.tensors import read_state, write_state

from multispin_env import Simulator, make_config

CONFIG = make_config("mobile", config={"num_users": 3})
MADE = NetworkConfig.of("equivariant", 8, CONFIG)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    LearnedController("mine", Actor(MADE), "residual", CONFIG).save(tmp_path / "mine", {})
    return tmp_path / "mine"


class Payload:
    """What runs where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._mark}",)


def refused(path: Path, *names: str) -> str:
    """The message with which a policy is refused, which names the folder."""
    with pytest.raises((ValueError, OSError)) as raised:
        LearnedController.load(path)
    message = str(raised.value)
    assert str(path) in message
    for name in names:
        assert name in message
    return message


def test_a_bare_name_is_a_shipped_policy_whatever_lies_in_the_working_directory(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = policy.parent / "package"
    monkeypatch.setattr("multispin_agents.policy.SHIPPED", shipped)
    shutil.copytree(policy, shipped / "theirs")
    monkeypatch.chdir(policy.parent)
    policy.rename(policy.parent / "theirs")
    assert find_policy("theirs") == shipped / "theirs"
    for path in ("./theirs", str(policy.parent / "theirs"), Path("theirs")):
        assert find_policy(path) == policy.parent / "theirs"
    (policy.parent / "theirs").rename(policy)
    with pytest.raises(FileNotFoundError, match=r"no policy is called 'mine': .* are theirs; .*as in \./mine"):
        find_policy("mine")
    for nothing in ("", ".", "..", "./none", "policies/"):
        with pytest.raises(FileNotFoundError, match="the shipped policies are "):
            find_policy(nothing)


@pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: {"head.bias": payload}, lambda p: [p]])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_never_run(zipped: bool, wrap: Callable[[Any], Any], policy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    content = wrap(Payload(mark))
    if zipped:
        torch.save(content, policy / "actor.pt")
    else:
        (policy / "actor.pt").write_bytes(pickle.dumps(content))
    refused(policy, "actor.pt", "never loaded")
    assert not mark.exists()
    # The payload is one: whoever unpickles it runs it.
    pickle.loads(pickle.dumps(content))
    assert mark.exists()


def test_a_card_is_json_and_nothing_else(policy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    (policy / "card.json").write_bytes(pickle.dumps(Payload(mark)))
    refused(policy, "card.json")
    (policy / "card.json").write_text(f"!!python/object/apply:os.system ['touch {mark}']")
    refused(policy, "card.json")
    assert not mark.exists()


def changed(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda card: {**card, name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: [], "a card must be an object"),
        (lambda card: None, "a card must be an object"),
        (lambda card: {name: card[name] for name in ("network", "features")}, "needs a value for: action, system"),
        (
            lambda card: {name: card[name] for name in card if name != "features"},
            "features, .* got None; .*trained anew",
        ),
        (changed("features", ["drafting_latency_s"]), "features, .* must be .*, got .*trained anew"),
        (changed("network", None), "network must be an object, got None"),
        (changed("network", ["equivariant"]), "network must be an object"),
        (changed("network", {}), "needs a value for: network, num_users"),
        (lambda card: changed("network", {**card["network"], "depth": 3})(card), "has no field 'depth'"),
        (lambda card: changed("network", {**card["network"], "network": "gnn"})(card), "must be one of 'equivariant'"),
        (lambda card: changed("network", {**card["network"], "network": {}})(card), "must be one of 'equivariant'"),
        (lambda card: changed("network", {**card["network"], "width": "8"})(card), r"width must be an integer in \[1"),
        (lambda card: changed("network", {**card["network"], "width": -1})(card), r"width must be an integer in \[1"),
        (lambda card: changed("network", {**card["network"], "width": 10**18})(card), r"width must be an integer"),
        (lambda card: changed("network", {**card["network"], "memory": True})(card), "memory must be an integer"),
        (lambda card: changed("network", {**card["network"], "tokens_high": 1.5})(card), "tokens_high must be"),
        (changed("action", "mine"), "action must be one of 'direct', 'lengths', 'residual', got 'mine'"),
        (changed("action", ["direct"]), "action must be one of"),
        (changed("system", {}), "needs a value for"),
        (changed("system", 7), "SystemConfig must be"),
        (lambda card: changed("system", {**card["system"], "num_users": 10**30})(card), "digits"),
    ],
)
def test_a_card_that_describes_no_policy_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, policy: Path
) -> None:
    file = policy / "card.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    refused(policy, "card.json")
    with pytest.raises(ValueError, match=message):
        LearnedController.load(policy)


def test_a_card_cannot_ask_for_more_memory_than_the_weights_have(policy: Path) -> None:
    file = policy / "card.json"
    card = json.loads(file.read_text())
    file.write_text(json.dumps({**card, "network": {**card["network"], "network": "mlp", "num_users": 100_000}}))
    refused(policy, "actor.pt", "trunk.layers.0.weight")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {**weights, "head.bias": torch.full((2,), torch.nan)}, "'head.bias' must hold finite numbers"),
        (lambda weights: {**weights, "head.bias": torch.tensor([0.0, torch.inf])}, "must hold finite numbers"),
        (lambda weights: {**weights, "head.bias": torch.zeros(3)}, r"must be torch.float32 of shape \(2,\), got"),
        (lambda weights: {**weights, "head.bias": torch.zeros(2, dtype=torch.float64)}, "got torch.float64"),
        (lambda weights: {**weights, "head.bias": torch.zeros(2, dtype=torch.int64)}, "got torch.int64"),
        (lambda weights: {**weights, "head.bias": torch.zeros(2, dtype=torch.complex64)}, "got torch.complex64"),
        (lambda weights: {**weights, "head.bias": torch.zeros(2).to_sparse()}, "must be dense"),
        (lambda weights: {**weights, "head.bias": torch.zeros(2, device="meta")}, "must be dense"),
        (lambda weights: {**weights, "head.bias": [0.0, 0.0]}, "'head.bias' must be a tensor"),
        (lambda weights: {**weights, "tail.bias": torch.zeros(2)}, "'tail.bias', which belongs to nothing here"),
        (lambda weights: {name: weights[name] for name in weights if name != "head.bias"}, "lacks the tensor 'head.b"),
        (lambda weights: {}, "lacks the tensor"),
    ],
)
def test_weights_that_are_not_the_network_s_are_refused(
    change: Callable[[dict[str, Any]], Any], message: str, policy: Path
) -> None:
    file = policy / "actor.pt"
    write_state(file, change(read_state(file)))
    refused(policy, "actor.pt")
    with pytest.raises(ValueError, match=message):
        LearnedController.load(policy)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"not a zip", pickle.dumps([1]), pickle.dumps({1: 2}), b"\x80\x02" + b"]" * 10_000 + b"."],
    ids=["empty", "cut", "text", "list", "numbers", "deep"],
)
def test_files_that_hold_no_tensors_are_refused(content: bytes, policy: Path) -> None:
    (policy / "actor.pt").write_bytes(content)
    refused(policy, "actor.pt")


def test_a_zip_of_something_else_is_refused(policy: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N.")
    (policy / "actor.pt").write_bytes(data.getvalue())
    refused(policy, "actor.pt")


def test_whatever_happens_to_the_files_the_error_names_one(policy: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("actor.pt", 150), ("card.json", 150)):
        content = (policy / name).read_bytes()
        outcomes = []
        for trial in range(count):
            data = bytearray(content)
            if trial % 3 == 0:
                data = data[: rng.integers(len(data))]
            elif trial % 3 == 1:
                for place in rng.integers(len(data), size=4):
                    data[place] = rng.integers(256)
            else:
                at = rng.integers(len(data))
                data[at : at + rng.integers(1, 9)] = rng.choice(
                    [b"null", b"[[", b'"', b"-1", b"1e999", b"\0", b"9" * 99]
                )
            (policy / name).write_bytes(bytes(data))
            try:
                LearnedController.load(policy)
            except (ValueError, OSError) as error:
                outcomes.append(str(policy / name) in str(error))
        assert all(outcomes)
        assert len(outcomes) > count // 3
        (policy / name).write_bytes(content)
    LearnedController.load(policy)


def test_finite_weights_that_come_to_no_numbers_end_with_the_policy_s_name(policy: Path) -> None:
    file = policy / "actor.pt"
    write_state(file, {name: torch.full_like(tensor, 3e38) for name, tensor in read_state(file).items()})
    simulator = Simulator(CONFIG, 2)
    simulator.reset([np.random.default_rng(seed) for seed in range(2)])
    with pytest.raises(ValueError, match="policy 'mine' comes to actions that are no numbers"):
        LearnedController.load(policy).act(simulator.view())
