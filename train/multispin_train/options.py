"""What the options of several commands share: their types, how texts become values, and how values are checked."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import tyro
from multispin_agents import AGENTS, NETWORKS
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from multispin_env import MODEL_PAIRS, SCENARIOS, SystemConfig, make_config
from multispin_env.config import ConfigError, check_number, shown
from multispin_env.envs.actions import ACTIONS
from multispin_env.files import parse_json, read_json

# More of anything would take years, or more memory than there is.
MOST = 10**9
# The longest integer of 64 bits.
_MOST_DIGITS = 20


def check_count(name: str, value: int) -> int:
    """``value`` if it is a number of things, at least 1.

    Raises:
        ConfigError: It is not.
    """
    return int(check_number(name, value, {"low": 1, "high": MOST, "off": False, "integer": True}))


class CheckedOptions:
    """Checks every ``whole`` and ``real`` field of a frozen dataclass; errors call a field by its name alone."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            if "low" in item.metadata:
                object.__setattr__(self, item.name, check_number(item.name, getattr(self, item.name), item.metadata))


def read_object(option: str, text: str) -> dict[str, Any]:
    """The JSON object that an option gives, as text that begins with ``{`` or as the path of a file.

    Raises:
        ConfigError: It is none; the message names the option or the file, and the place.
    """
    if text.lstrip().startswith("{"):
        values = parse_json(text, option)
    else:
        try:
            values = read_json(text)
        except ConfigError as error:
            raise ConfigError(f"{option} takes a JSON object or the path of a file that holds one: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{option} must be a JSON object, and {text} holds {shown(values)}")
    return values


def _object_option(name: str) -> PrimitiveConstructorSpec[Mapping[str, Any]]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON|FILE",
        instance_from_str=lambda texts: read_object(f"--{name}", texts[0]),
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [json.dumps(dict(value))],
    )


def one_of(names: Iterable[str]) -> str:
    """How help shows an option that takes one of these."""
    return "{" + ",".join(names) + "}"


Scenario = Annotated[str, tyro.conf.arg(metavar=one_of(SCENARIOS))]
ModelPair = Annotated[
    str,
    tyro.conf.arg(metavar="PAIR", help=f"{', '.join(MODEL_PAIRS)}, or the path of a pair's .json file."),
]
Model = Annotated[str, tyro.conf.arg(metavar="MODEL")]
Agent = Annotated[str, tyro.conf.arg(metavar=one_of(AGENTS))]
Action = Annotated[str, tyro.conf.arg(metavar=one_of(ACTIONS))]
Network = Annotated[str, tyro.conf.arg(metavar=one_of(NETWORKS))]
Controllers = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]")]
Policies = Annotated[
    tuple[str, ...], tyro.conf.arg(name="policy", metavar="PATH [PATH ...]", help_behavior_hint="(default: none)")
]
Config = Annotated[
    Mapping[str, Any],
    _object_option("config"),
    tyro.conf.arg(help="Changed fields of SystemConfig, as a file or, e.g., '{\"num_users\": 5}'."),
]
HyperparameterChanges = Annotated[Mapping[str, Any], _object_option("hyperparameters")]
EnvKwargs = Annotated[Mapping[str, Any], _object_option("env-kwargs")]


def make_system(scenario: str, model_pair: str, config: Mapping[str, Any]) -> SystemConfig:
    """The system of a scenario, a model pair and what ``--config`` changes.

    Raises:
        ValueError: One of them is wrong; the message says which.
    """
    make_config(scenario, model_pair)
    try:
        return make_config(scenario, model_pair, config)
    except ConfigError as error:
        raise ConfigError(f"--config: {error}") from error


def command_line(command: str, arguments: Mapping[str, Any]) -> str:
    """A command of ours with its arguments, objects as JSON and empty ones left out."""
    words = ["multispin", command]
    for name, value in arguments.items():
        if isinstance(value, Mapping | tuple) and not value:
            continue
        given = [json.dumps(value)] if isinstance(value, Mapping) else value if isinstance(value, tuple) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, given)]
    return shlex.join(words)


def number_registry() -> ConstructorRegistry:
    """How numbers are read: errors say what is allowed, and integers that no field could hold are refused."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type not in (int, float):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="N" if info.type is int else "X",
            instance_from_str=(lambda texts: _integer(texts[0])) if info.type is int else lambda t: _number(t[0]),
            is_instance=lambda value: isinstance(value, info.type),
            str_from_instance=lambda value: [f"{value:g}" if isinstance(value, float) else str(value)],
        )

    return registry


def _integer(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise ConfigError(f"must be an integer of at most {_MOST_DIGITS} digits, got {shown(text)}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"must be a number, got {shown(text)}") from None
