"""What tests of the package and of the repository need: worlds of every scenario."""

import ast
import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from multispin_env import SCENARIOS
from multispin_env.profiles import load_model_pair

SCALE = 255
TASKS = [
    {"name": "mild", "acceptance_mean": 0.6, "acceptance_std": 0.15},
    {"name": "wild", "acceptance_mean": 0.7, "acceptance_std": 0.3},
    {"name": "all", "acceptance_mean": 1.0},
]


def _measured_request(rng, task):
    """A text of a target model over eight tokens, drafted by a model that agrees with it more or less."""
    positions = int(rng.integers(4, 80))
    target, other = rng.dirichlet(np.full(8, 0.3), (2, positions))
    agreement = np.ones((positions, 1)) if task == "all" else rng.beta(2.0, 0.3, (positions, 1))
    draft = agreement * target + (1.0 - agreement) * other
    text = np.array([rng.choice(8, p=law) for law in target])
    probabilities = {
        "acceptance": np.minimum(target, draft).sum(axis=1),
        "outcome_probability": np.minimum(1.0, (draft / target)[np.arange(positions), text]),
    }
    return {"task": task, **{name: np.rint(SCALE * some).astype(int).tolist() for name, some in probabilities.items()}}


@pytest.fixture(scope="session")
def traced_profile():
    """A pair's file as a dict: llama2's times, and requests measured of its tasks."""
    rng = np.random.default_rng(0)
    profile = json.loads(resources.files("multispin_env.profiles").joinpath("llama2.json").read_text(encoding="utf-8"))
    requests = [_measured_request(rng, task["name"]) for task in TASKS for _ in range(20)]
    return profile | {
        "name": "traced",
        "tasks": {"value": TASKS, "source": "drawn at random"},
        "traces": {"scale": SCALE, "source": "drawn at random", "requests": requests},
    }


@pytest.fixture(scope="session")
def traced_pair(traced_profile, tmp_path_factory):
    """The path of that file, for ``model_pair``."""
    path = tmp_path_factory.mktemp("pairs") / "traced.json"
    path.write_text(json.dumps(traced_profile), encoding="utf-8")
    return str(path)


@pytest.fixture(params=[name for name in SCENARIOS if name != "live"])
def scenario(request):
    """Every scenario that needs no language models; repository/test_live.py has the checks of the one that does."""
    return request.param


@pytest.fixture
def model_pair():
    """The pair of a test that is not parametrised over pairs."""
    return "llama2"


@pytest.fixture
def world(scenario, model_pair, traced_pair):
    """Arguments of an environment; where requests are replayed, a pair without any gives way to one that has them."""
    replayable = scenario != "trace" or load_model_pair(model_pair).traces is not None
    return {"scenario": scenario, "model_pair": model_pair if replayable else traced_pair}


def _imported_modules(path, root):
    """Names of all that a file below ``root`` imports, also inside functions; ``from a import b`` is a and a.b."""
    package = list(path.relative_to(root).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            yield source
            yield from (f"{source}.{name.name}" for name in node.names)


@pytest.fixture(scope="session")
def imported_modules():
    return _imported_modules


@pytest.fixture(scope="session")
def offences():
    """What files below a root import of modules, and of what these hold, that they must not."""

    def find(paths, root, forbidden):
        paths = list(paths)
        assert paths
        return [
            f"{path.relative_to(root)} imports {name}"
            for path in paths
            for name in _imported_modules(path, root)
            if any(name == module or name.startswith(module + ".") for module in forbidden)
        ]

    return find


@pytest.fixture(scope="session")
def uplinks():
    """The folder of measured uplinks that MULTISPIN_UPLINKS names; they are not ours to ship."""
    folder = Path(os.environ.get("MULTISPIN_UPLINKS", "nowhere"))
    if not folder.is_dir():
        pytest.skip("MULTISPIN_UPLINKS names no folder of measured uplinks")
    return folder
