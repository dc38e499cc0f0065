"""Files of hyperparameters: every section checked, and an error that names the file and the place."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from multispin_agents import AGENTS, algorithms
from multispin_agents.algorithms import PPOHyperparameters, load_hyperparameters, read_sections

SHIPPED = Path(algorithms.__file__).parent / "hyperparameters"
DEFAULT = yaml.safe_load((SHIPPED / "ppo.yaml").read_text(encoding="utf-8"))["default"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, r"num_envs must be an integer in \[1, 65536\], got 0"),
        ({"num_envs": 8.0}, "num_envs must be an integer"),
        ({"num_envs": True}, "num_envs must be an integer"),
        ({"total_timesteps": 10**400}, "total_timesteps must be an integer"),
        ({"batch_size": 1}, r"batch_size must be an integer in \[2, 10000000\], got 1"),
        (
            {"num_envs": 1, "n_steps": 1},
            "num_envs . n_steps, an update's rounds, must be at least 2, got num_envs=1, n_steps=1",
        ),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number"),
        ({"learning_rate": 1e300}, r"learning_rate must be a finite number in \[1e-09, 1\]"),
        ({"clip_range": "wide"}, "clip_range must be a finite number .* got 'wide'"),
        ({"clip_range": None}, "clip_range must be a finite number"),
        ({"clip_range": [0.1]}, "clip_range must be a finite number"),
        ({"gamma": 1.5}, r"gamma must be a finite number in \[0, 1\], got 1.5"),
        ({"ent_coef": float("nan")}, "ent_coef must be a finite number"),
        ({"discount": 0.5}, "ppo has no field 'discount'"),
        ({"gamm": 0.5}, "did you mean 'gamma'"),
        ({7: 0.5}, "ppo has no field 7"),
    ],
)
def test_values_are_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_hyperparameters("ppo", ["mobile"], changes)


def written(path: Path, **sections: object) -> Path:
    file = path / "ppo.yaml"
    file.write_text(yaml.safe_dump({"default": DEFAULT, **sections}), encoding="utf-8")
    return file


def test_sections_of_scenarios_and_action_layers_are_known(tmp_path: Path) -> None:
    file = written(tmp_path, mobile={"num_envs": 4}, direct={"n_epochs": 2})
    assert read_sections(file, PPOHyperparameters)["mobile"] == {"num_envs": 4}
    for agent in AGENTS:
        assert load_hyperparameters(agent, [], {})


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("indoor", {"num_envs": 4}, "section 'indoor': section must be one of 'default', 'direct'"),
        ("mobile", None, "section 'mobile': must hold hyperparameters and their values, got None"),
        ("mobile", [1, 2], "section 'mobile': must hold hyperparameters"),
        ("mobile", {"num_env": 4}, "section 'mobile': it has no field 'num_env'; did you mean 'num_envs'"),
        ("mobile", {"num_envs": "4"}, "section 'mobile': num_envs must be an integer"),
        ("mobile", {"num_envs": {"low": 4}}, "section 'mobile': num_envs must be an integer"),
        ("mobile", {"batch_size": 1}, "section 'mobile': batch_size must be an integer"),
        ("default", {"num_envs": 4}, "section 'default': it needs a value for: total_timesteps"),
    ],
)
def test_a_section_that_is_wrong_is_named(section: str, values: object, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, **{section: values})
    with pytest.raises(ValueError, match=message) as raised:
        read_sections(file, PPOHyperparameters)
    assert str(raised.value).startswith(str(file))


# Nine lines that stand for a billion entries, and merges that double as they go.
LAUGHS = "\n".join(["default:", "  a0: &a0 [x, x, x]", *(f"  a{n}: &a{n} [{9 * f'*a{n - 1}, '}]" for n in range(1, 9))])
MERGES = "\n".join(["m0: &m0 {x: 1}", *(f"m{n}: &m{n} {{<<: [{9 * f'*m{n - 1}, '}]}}" for n in range(1, 12))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold sections of hyperparameters, one of them default, got None"),
        ("[]", "must hold sections"),
        ("default", "must hold sections"),
        ("mobile: {environments: 4}", "must hold sections"),
        ("default: [", "is no YAML"),
        ("default:\n\tlanes: 4", "is no YAML.*line 2"),
        ("default: {environments: 4}\ndefault: {environments: 5}", "line 2: 'default' stands there twice"),
        ("default:\n  environments: 4\n  environments: 5", "line 3: 'environments' stands there twice"),
        ("default: {? [1, 2] : 3}", ""),
        ("default: 2026-13-45", "is no YAML"),
        (f"default: {'9' * 5000}", "is no YAML"),
        ("default: \x07", "is no YAML"),
        (f"default: {'[' * 30_000}", "line 1: must hold sections of values and nothing deeper"),
        (f"default: {'{a: ' * 30_000}", "line 1: must hold sections of values and nothing deeper"),
        ("- " * 30_000, "line 1: must hold sections of values and nothing deeper"),
        ("default: !!python/object/apply:os.system ['exit 1']", "is no YAML"),
        (LAUGHS, "line 3: must have no aliases"),
        (MERGES, "line 2: must have no aliases"),
    ],
)
def test_what_is_no_file_of_hyperparameters_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ppo.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"(?s){message}") as raised:
        read_sections(file, PPOHyperparameters)
    assert str(raised.value).startswith(str(file))
    assert len(str(raised.value)) < 2000


def test_yaml_runs_nothing(tmp_path: Path) -> None:
    file, mark = tmp_path / "ppo.yaml", tmp_path / "it-ran"
    for tag in ("apply:os.system", "new:os.system"):
        file.write_text(f"default: !!python/object/{tag} ['touch {mark}']", encoding="utf-8")
        with pytest.raises(ValueError, match="is no YAML"):
            read_sections(file, PPOHyperparameters)
    assert not mark.exists()


def test_whatever_happens_to_the_file_the_error_names_it(tmp_path: Path) -> None:
    content = written(tmp_path, mobile={"num_envs": 4}).read_bytes()
    file, rng = tmp_path / "ppo.yaml", np.random.default_rng(0)
    named = []
    for _ in range(200):
        data = bytearray(content)
        at = rng.integers(len(data))
        data[at : at + rng.integers(1, 9)] = rng.choice(
            [b"", b": ", b"- ", b"\n", b"[", b'"', b"\xff", b"null", b"&a *a"]
        )
        file.write_bytes(bytes(data))
        try:
            read_sections(file, PPOHyperparameters)
        except ValueError as error:
            named.append(str(error).startswith(str(file)))
    assert all(named)
    assert len(named) > 100
