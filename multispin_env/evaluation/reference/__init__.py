"""Per-seed results of the reference controllers, carried by the package: a paired comparison needs no replay.

``SCENARIO-PAIR.json`` in this folder holds one setting's; ``multispin reference --output DIR`` writes them all anew. A
file says which system it was played on and how the first rounds of that system's world go (:func:`world_probe`): one
of another system or another world is refused, never used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from multispin_env import MODEL_PAIRS, Allocation, Simulator, SystemConfig, make_config
from multispin_env.files import write_atomically

# Seeds below are for training and tuning; an evaluation meets worlds that nobody has trained on.
FIRST_EVALUATION_SEED = 1_000_000
REFERENCE_SEEDS = 64

_PROBE_ROUNDS = 3
_PROBE_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ReferenceResults:
    """What the reference controllers earned in one setting.

    Attributes:
        system: The system, as :meth:`SystemConfig.to_dict` has it.
        world: What :func:`world_probe` said of it.
        seeds: The episodes' seeds.
        goodput_tok_s: By controller, one value a seed.
    """

    system: Mapping[str, Any]
    world: Sequence[float]
    seeds: Sequence[int]
    goodput_tok_s: Mapping[str, Sequence[float]]


class NoReferenceError(LookupError):
    """The package carries no reference results to compare with; the message says why."""


def reference_file(scenario: str, model_pair: str) -> str:
    """The name of the file of a setting."""
    return f"{scenario}-{model_pair}.json"


def world_probe(system: SystemConfig) -> list[float]:
    """Tokens and seconds of the first rounds of the first evaluation seed, under a fixed allocation.

    Two versions of this package that agree on them simulate the same world; one that draws or computes anything else
    differs. To six digits, so that another machine's last one does not count.
    """
    simulator = Simulator(system, 1)
    simulator.reset([np.random.default_rng(FIRST_EVALUATION_SEED)])
    shape = (1, system.num_users)
    allocation = Allocation(
        np.full(shape, max(1, system.max_draft_length // 3), dtype=np.int64), np.full(shape, 1.0 / system.num_users)
    )
    figures: list[float] = []
    for _ in range(min(_PROBE_ROUNDS, system.episode_rounds)):
        outcome = simulator.step(allocation)
        figures += [float(np.sum(outcome.tokens)), float(f"{outcome.latency_s[0]:.6g}")]
    return figures


def same_world(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two probes are of the same world."""
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=_PROBE_TOLERANCE, atol=0.0))


def load_reference(scenario: str, model_pair: str | os.PathLike[str], system: SystemConfig) -> ReferenceResults:
    """The reference results of a setting.

    Args:
        scenario: The scenario's name.
        model_pair: The pair's name.
        system: The system that is evaluated.

    Raises:
        NoReferenceError: There are none, they are of another system, or of what this version no longer simulates.
    """
    setting = f"{scenario} / {os.fspath(model_pair)}"
    results = _load(scenario, model_pair) if model_pair in MODEL_PAIRS else None
    if results is None:
        raise NoReferenceError(f"the package carries no reference results of {setting}")
    if results.system != _plain(system):
        preset = make_config(scenario, model_pair)
        if results.system == _plain(preset):
            changed = ", ".join(_differing(results.system, _plain(system)))
            raise NoReferenceError(
                f"the reference results of {setting} are of the preset, and this config has {changed}"
            )
        raise NoReferenceError(_stale(setting))
    if not same_world(results.world, _probed(scenario, os.fspath(model_pair))):
        raise NoReferenceError(_stale(setting))
    return results


def write_reference(path: Path, results: ReferenceResults) -> None:
    """Writes a setting's file, in place of one that is there."""
    goodput = {name: [float(f"{value:.8g}") for value in values] for name, values in results.goodput_tok_s.items()}
    lines = ",\n".join(f'  "{name}": {json.dumps(values)}' for name, values in goodput.items())
    text = (
        f'{{"system": {json.dumps(results.system)},\n"world": {json.dumps(list(results.world))},\n'
        f'"seeds": {json.dumps(list(results.seeds))},\n"goodput_tok_s": {{\n{lines}\n}}}}\n'
    )
    write_atomically(path, text)


def read_reference(text: str) -> ReferenceResults:
    """The results that a setting's file holds."""
    return ReferenceResults(**json.loads(text))


def reference_settings() -> list[tuple[str, str]]:
    """Scenarios and pairs whose results this installation carries."""
    names = (file.name for file in resources.files(__name__).iterdir())
    settings = (name.removesuffix(".json").split("-", 1) for name in names if name.endswith(".json"))
    return sorted((scenario, pair) for scenario, pair in settings)


@lru_cache
def _load(scenario: str, model_pair: str | os.PathLike[str]) -> ReferenceResults | None:
    file = resources.files(__name__).joinpath(reference_file(scenario, os.fspath(model_pair)))
    return read_reference(file.read_text(encoding="utf-8")) if file.is_file() else None


@lru_cache
def _probed(scenario: str, model_pair: str) -> list[float]:
    return world_probe(make_config(scenario, model_pair))


def _stale(setting: str) -> str:
    return f"the reference results of {setting} are of another version's world; `multispin reference` writes them anew"


def _plain(system: SystemConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(system.to_dict()))
    return plain


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two dicts differ, as ``field=other's value``."""
    found: list[str] = []
    for name in {**one, **other}:
        ours, theirs = one.get(name), other.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            found += _differing(ours, theirs, f"{prefix}{name}.")
        elif ours != theirs:
            found.append(f"another {prefix}{name}" if isinstance(theirs, list | dict) else f"{prefix}{name}={theirs}")
    return found
