"""The per-seed results that the package carries: they are current, and the command writes them."""

from io import StringIO
from pathlib import Path

import pytest
from multispin_baselines import REFERENCE_CONTROLLERS, make_controller
from multispin_train.benchmark.reference import all_settings, write_references
from multispin_train.display import CommandProgress
from rich.console import Console

from multispin_env import make_config
from multispin_env.evaluation import FIRST_EVALUATION_SEED, evaluate
from multispin_env.evaluation.reference import load_reference, read_reference, reference_settings, world_probe
from multispin_env.evaluation.rollout import play


def test_the_package_s_reference_results_are_what_the_controllers_earn() -> None:
    assert reference_settings()
    for scenario, pair in reference_settings():
        system = make_config(scenario, pair)
        reference = load_reference(scenario, pair, system)
        assert tuple(reference.goodput_tok_s) == REFERENCE_CONTROLLERS
        assert list(reference.seeds) == [FIRST_EVALUATION_SEED + index for index in range(64)]
        assert {len(values) for values in reference.goodput_tok_s.values()} == {64}
        for name in ("heterogeneous", "predictive"):
            episodes = play(make_controller(name, pair), system, reference.seeds[:1], timed=False)
            assert reference.goodput_tok_s[name][0] == pytest.approx(episodes[0].goodput_tok_s, rel=1e-5)


def test_the_reference_command_writes_what_evaluate_reads(tmp_path: Path) -> None:
    with CommandProgress(Console(file=StringIO())) as progress:
        setting = {"settings": [("paper", "llama2")], "seeds": 2, "destination": tmp_path}
        [file] = write_references(tmp_path / "rows", progress, **setting)
        before = file.read_bytes()
        [again] = write_references(tmp_path / "rows", progress, **setting)
    assert again.read_bytes() == before
    assert file.name == "paper-llama2.json"
    results = read_reference(file.read_text(encoding="utf-8"))
    assert results.world == world_probe(make_config("paper", "llama2"))
    assert tuple(results.goodput_tok_s) == REFERENCE_CONTROLLERS
    evaluation = evaluate(make_controller("fixed", "llama2"), seeds=2)
    assert results.goodput_tok_s["fixed"] == pytest.approx([e.goodput_tok_s for e in evaluation.episodes], rel=1e-7)
    assert ("mobile", "qwen3.5") in all_settings()
    assert not any(scenario == "live" for scenario, _ in all_settings())


def test_a_reference_controller_gains_nothing_over_itself() -> None:
    evaluation = evaluate(make_controller("homogeneous", "llama2"), seeds=3)
    assert evaluation.without_reference is None
    assert evaluation.gains is not None
    assert evaluation.gains["homogeneous"] == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert evaluation.gains["fixed"].low > 0.0
    assert "% over homogeneous" in str(evaluation)
