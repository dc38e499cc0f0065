"""Nothing that is loaded is executed: no code of ours calls what could, but where a user says to trust a file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("multispin_env", "baselines/multispin_baselines", "agents/multispin_agents", "train/multispin_train")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
# Zips of stable-baselines3, which are loaded with --trust alone; its own tests say so.
TRUSTED = "train/multispin_train/benchmark/sb3_zip.py"

# Modules that unpickle, and the calls that can be told not to.
UNPICKLING = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "pandas"}
RUNNING = {"eval", "exec", "compile", "__import__"}
UNPICKLING_METHODS = {"load_replay_buffer", "load_from_zip_file", "load_from_pkl"}
UNPICKLING_CLASSES = {"PPO", "SAC", "RecurrentPPO", "BaseAlgorithm", "VecNormalize"}
TOLD = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}


def suspects(tree: ast.AST) -> Iterator[str]:
    """Whatever a module imports or calls that could run what a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLING:
            yield str(node.module)
        elif isinstance(node, ast.Call) and runs(node):
            yield ast.unparse(node)


def runs(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    owner, _, name = called.rpartition(".")
    given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    if called in TOLD:
        word, wanted = TOLD[called]
        return given.get(word) is not wanted
    return (
        called in RUNNING
        or called == "joblib.load"
        or name in UNPICKLING_METHODS
        or (owner == "yaml" and name.endswith("load") and name != "safe_load")
        or (owner.rpartition(".")[2] in UNPICKLING_CLASSES and name == "load")
        or given.get("trust_remote_code") is True
        or given.get("allow_pickle") is True
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_file_of_ours_runs_what_it_loads(file: Path) -> None:
    found = list(suspects(ast.parse(file.read_text(encoding="utf-8"))))
    assert bool(found) == (file.relative_to(ROOT).as_posix() == TRUSTED), found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "joblib.load(file)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "yaml.unsafe_load(text)",
        "agent.load_replay_buffer(file)",
        "PPO.load(file)",
        "eval(text)",
    ],
)
def test_the_search_finds_what_could_run(line: str) -> None:
    assert list(suspects(ast.parse(line)))
