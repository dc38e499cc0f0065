"""Which way imports run, and what importing the package costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import multispin_env

PACKAGE = Path(multispin_env.__file__).parent
ROOT = PACKAGE.parent
ABOVE_THE_CORE = ("multispin_env.envs", "multispin_env.optimal", "gymnasium")


def sources(*places):
    """The Python files of these parts of the package."""
    found = []
    for place in places:
        path = PACKAGE / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert len(found) >= len(places)
    return found


def test_core_and_configuration_import_nothing_above_them(offences):
    below = sources("core", "profiles", "config", "files.py", "registration.py", "scenarios.py")
    assert not offences(below, ROOT, ABOVE_THE_CORE)


def test_the_optimum_imports_neither_gymnasium_nor_the_environments(offences):
    assert not offences(sources("optimal"), ROOT, ("gymnasium", "multispin_env.envs"))


def test_of_the_core_the_optimum_uses_the_equations_and_the_views(imported_modules):
    used = {name for path in sources("optimal") for name in imported_modules(path, ROOT)}
    core = {name for name in used if name.startswith("multispin_env.core")}
    allowed = {"multispin_env.core.equations", "multispin_env.core.view"}
    assert {".".join(name.split(".")[:3]) for name in core} <= allowed


def test_the_package_imports_nothing_from_the_rest_of_the_repository(offences):
    assert not offences(sources("."), ROOT, ("multispin_agents", "multispin_baselines", "multispin_train"))


def test_the_search_for_imports_finds_imports(imported_modules, offences):
    envs = {name for path in sources("envs") for name in imported_modules(path, ROOT)}
    assert {"gymnasium", "multispin_env.core.simulator"} <= envs
    assert offences(sources("envs"), ROOT, ["multispin_env.core"])


@pytest.fixture(scope="module")
def loaded():
    """Modules that a fresh interpreter has loaded after importing the package and playing a round."""
    program = (
        "import sys, json, gymnasium, multispin_env\n"
        "env = gymnasium.make('multispin_env/Heterogeneous-v0', scenario='thermal', render_mode='ansi')\n"
        "env.reset(seed=0); env.step(env.action_space.sample()); env.render()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("heavy", ["torch", "stable_baselines3", "matplotlib", "pandas", "rich"])
def test_a_round_is_played_without_heavy_modules(heavy, loaded):
    assert "multispin_env.envs.scalar" in loaded
    assert heavy not in loaded
