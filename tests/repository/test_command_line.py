"""The command line: help, bad input named in one line, extras that are missing, interruptions."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from multispin_train.cli import COMMANDS, main
from multispin_train.fit import training

from multispin_env.speculative.models import TINY

MEASURE = ["measure", "--draft", "tiny-draft", "--target", "tiny-target", "--prompts", str(TINY / "prompts.jsonl")]
DIGITS = 400 * "9"


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that says what is wrong with a command line."""
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_says_what_a_command_does_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    # The parser breaks the line of usage only where it has 80 columns of options.
    assert max(map(len, text.split("\n\n", 1)[1].splitlines())) <= 80
    assert f"multispin {name} " in text.split("Example:")[1]
    for option in inspect.signature(COMMANDS[name].load()).parameters.values():
        assert option.name not in ("output", "seeds", "jobs", "trials") or f"--{option.name}" in text
    assert (inspect.getdoc(COMMANDS[name].load()) or "").splitlines()[0] == COMMANDS[name].summary


def test_the_list_of_commands_and_the_benchmark_import_no_learning_library() -> None:
    code = (
        "import sys\nfrom multispin_train.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'optuna', 'stable_baselines3'} & set(sys.modules)))"
    )
    for words in (["--help"], ["benchmark", "--help"], ["benchmark", "--seeds", "0", "--output", "x"]):
        run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert run.stdout.splitlines()[-1] == "[]"
    run = subprocess.run(
        [sys.executable, "-m", "multispin_train", "--help"], capture_output=True, text=True, check=True
    )
    assert all(command.summary in run.stdout for command in COMMANDS.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench"], ["bench"]),
        ([], ["benchmark, reference, fit"]),
        (["benchmark"], ["--output"]),
        (["benchmark", "--sedes", "3", "--output", "new"], ["--sedes", "did you mean --seeds?"]),
        (["benchmark", "--seeds", "0", "--output", "new"], ["seeds must be an integer in [1, ", "got 0"]),
        (["benchmark", "--seeds", "x", "--output", "new"], ["--seeds must be an integer", "got 'x'"]),
        (["benchmark", "--seeds", DIGITS, "--output", "new"], ["--seeds must be an integer of at most 20 digits"]),
        (["benchmark", "--seeds", "--output", "new"], ["--seeds"]),
        (["benchmark", "--scenario", "indoor", "--output", "new"], ["scenario must be one of paper, ", "'indoor'"]),
        (["benchmark", "--model-pair", "[/red].json", "--output", "new"], ["[/red].json"]),
        (["benchmark", "--model-pair", ".", "--output", "new"], ["model_pair", "'.'"]),
        (["benchmark", "--controllers", "nobody", "--output", "new"], ["must be one of p2p, ", "'nobody'"]),
        (["benchmark", "--controllers", "--output", "new"], ["controllers must be at least one"]),
        (["benchmark", "--vec-normalize", "a.pkl", "--output", "new"], ["vec_normalize", "a.pkl"]),
        (["benchmark", "--output", __file__], ["output must be a folder", __file__]),
        (["benchmark", "--config", "{", "--output", "new"], ["--config: column 2"]),
        (
            ["benchmark", "--config", 20_000 * '{"a":', "--output", "new"],
            ["--config must not be nested deeper than 50"],
        ),
        (["benchmark", "--config", '{"num_users": NaN}', "--output", "new"], ["--config", "must be finite", "NaN"]),
        (["benchmark", "--config", f'{{"a": {DIGITS}}}', "--output", "new"], ["--config", "at most 20 digits"]),
        (
            ["benchmark", "--config", '{"num_user": 3}', "--output", "new"],
            ["--config: ", "mean 'num_users'?"],
        ),
        (
            ["benchmark", "--config", '{"num_users": 0}', "--output", "new"],
            ["--config: SystemConfig.num_users must be"],
        ),
        (["benchmark", "--config", "[1]", "--output", "new"], ["--config takes a JSON object or the path", "[1]"]),
        (["benchmark", "--config", "none.json", "--output", "new"], ["--config", "none.json", "No such file"]),
        (["benchmark", "--config", "/", "--output", "new"], ["--config", "/ cannot be read"]),
        (
            ["fit", "--hyperparameters", '{"batch_size": 1}', "--output", "new"],
            ["batch_size must be an integer", "got 1"],
        ),
        (["fit", "--agent", "dqn", "--output", "new"], ["agent must be one of", "'dqn'"]),
        (
            ["fit", "--action", "none", "--output", "new"],
            ["action must be one of 'direct', 'lengths', 'residual'", "'none'"],
        ),
        (["fit", "--network", "cnn", "--output", "new"], ["network must be one of equivariant, mlp", "'cnn'"]),
        (["search", "--trials", "0", "--output", "new"], ["trials must be an integer in [1, ", "got 0"]),
        (["study", "--jobs", "0", "--output", "new"], ["jobs must be an integer in [1, ", "got 0"]),
        (["study", "--training-seeds", "0", "--output", "new"], ["training_seeds must be an integer in [1, "]),
        (["tune", "--seeds", "0", "--output", "new"], ["seeds must be an integer in [1, ", "got 0"]),
        (["paper", "--seeds", "0", "--output", "new"], ["seeds must be an integer in [1, ", "got 0"]),
        (["reality", "--model-pair", "llama2", "--output", "new"], ["model_pair", "'llama2'"]),
        (["reference", "--settings", "a", "--output", "new"], ["settings must be of paper-llama2, ", "'a'"]),
        (["chat", "--seed", "-1"], ["seed must be an integer in [0, ", "got -1"]),
        (["chat", "--speed", "nan"], ["speed must be", "got nan"]),
        (["chat", "--controller", "predictive", "--policy", "a"], ["--policy", "--controller"]),
        ([*MEASURE, "--device", "x", "--output", "new"], ["device must be", "got 'x'"]),
        ([*MEASURE, "--name", "a/b", "--output", "new"], ["name must be", "'a/b'"]),
        (["distill", "--target", "tiny-target", "--epochs", "0", "--output", "new"], ["epochs must be", "got 0"]),
        (["prompts", "--output", "."], ["output must be a new file"]),
        (["prompts", "--split", "x", "--output", "new"], ["--split", "'x'"]),
        (["prompts", "--per-task", "0", "--output", "new"], ["per_task must be an integer in [1, ", "got 0"]),
    ],
)
def test_bad_input_is_named_in_one_line(
    words: list[str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = complaint(words, capsys)
    assert all(part in line for part in said), line
    assert not (tmp_path / "new").exists()


def test_a_long_path_is_not_broken_in_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"{100 * 'long'} name.json"
    for option in ("--config", "--model-pair"):
        assert str(path) in complaint(["benchmark", option, str(path), "--output", str(tmp_path / "new")], capsys)


def test_a_configuration_is_given_as_text_or_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = json.dumps({"num_users": 3, "episode_rounds": 4})
    (tmp_path / "small.json").write_text(fields, encoding="utf-8")
    for name, config in (("text", fields), ("file", str(tmp_path / "small.json"))):
        words = ["benchmark", "--seeds", "1", "--controllers", "fixed", "--config", config]
        assert main([*words, "--output", str(tmp_path / name)]) == 0
    manifests = [(tmp_path / name / "manifest.json").read_bytes() for name in ("text", "file")]
    assert manifests[0] == manifests[1]
    (tmp_path / "list.json").write_text("[3]", encoding="utf-8")
    line = complaint(["benchmark", "--config", str(tmp_path / "list.json"), "--output", str(tmp_path / "new")], capsys)
    assert "--config must be a JSON object" in line
    assert "[3]" in line


@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        (["benchmark", "--policy", "mobile-llama2", "--output", "new"], "torch", "train"),
        (["measure", "--help"], "torch", "live"),
        (["chat", "--help"], "rich", "benchmark"),
        (["benchmark", "--help"], "tyro", "benchmark"),
        (["search", "--help"], "optuna", "train"),
    ],
)
def test_a_missing_module_is_named_with_the_extra_that_brings_it(words: list[str], missing: str, extra: str) -> None:
    code = (
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.split('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from multispin_train.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert f"error: {missing} is not installed" in line
    assert f"pip install 'multispin_env[{extra}]'" in line


def test_an_interruption_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"total_timesteps": 128, "num_envs": 8, "n_steps": 8, "updates_per_chunk": 1, "batch_size": 32, "width": 8}
    words = ["fit", "--config", '{"num_users": 3, "episode_rounds": 4}', "--hyperparameters", json.dumps(small)]
    monkeypatch.setattr(training, "EVALUATION_SEEDS", range(900_000, 900_002))

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "make_controller", interrupted)
        assert main([*words, "--output", str(tmp_path / "none")]) == 130
    assert "nothing was kept" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(training._Advance, "_on_step", interrupted)
        assert main([*words, "--output", str(tmp_path / "run")]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    rows = len((tmp_path / "run" / "results.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert rows == 3  # two references, and the agent before its training
    assert f"{tmp_path / 'run'} keeps {rows} rows in results.csv" in line
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
