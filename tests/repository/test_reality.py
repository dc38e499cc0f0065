"""What reality says: the fit finds a known drift, the expectations are exact, and the page is written once."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from multispin_train.reality import prefixes, published
from multispin_train.reality.analysis import analyse
from multispin_train.reality.drifting_rates import DRAFT_LENGTHS, drifting_rates
from multispin_train.reality.question import Question, answer
from rich.progress import Progress
from scipy import optimize

from multispin_env.core.equations import beta_parameters, expected_tokens
from multispin_env.profiles import Traces

SMALL = {"num_users": 3, "episode_rounds": 4}


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch):
    monkeypatch.setattr(prefixes, "_MODEL_TEXTS", 200)


def traces_of(acceptance, outcome_probability=None, length=None, tasks=("only",)):
    rows, positions = acceptance.shape
    return Traces(
        source="Made up",
        task=tuple(np.resize(tasks, rows).tolist()),
        length=np.full(rows, positions) if length is None else np.array(length),
        acceptance=acceptance,
        outcome_probability=acceptance if outcome_probability is None else outcome_probability,
    )


# The course along texts


@pytest.mark.parametrize(("share", "tokens", "std"), [(0.6, 12.0, 0.25), (0.9, 4.0, 0.2), (0.5, 30.0, 0.32)])
def test_the_fit_recovers_a_known_drift_under_noise(share, tokens, std):
    rng = np.random.default_rng(5)
    rates = drifting_rates(np.full(400, 0.74), std, share, tokens, 160, rng)
    noisy = np.clip(rng.beta(4.0 * rates + 1e-9, 4.0 * (1.0 - rates) + 1e-9), 0.0, 1.0)  # each position for itself
    outcomes = (rng.random(rates.shape) < rates).astype(np.float64)
    analysis = analyse(traces_of(noisy, outcomes), resamples=8)
    for drift in (analysis.acceptance, analysis.outcome):
        assert drift.rate_std.value == pytest.approx(std, rel=0.06)
        assert drift.share.value == pytest.approx(share, abs=0.08)
        assert drift.correlation_tokens.value == pytest.approx(tokens, rel=0.3)
        assert drift.autocovariance.value[0] > drift.fitted[0]
        assert sum(part.value for part in drift.explained.values()) == pytest.approx(1.0, abs=0.15)
    # The rate that drifts from token to token is the very law of these texts.
    prefixes = analysis.prefixes
    np.testing.assert_allclose(prefixes.drifting_anywhere, prefixes.anywhere.value, rtol=0.12)
    assert abs(prefixes.errors["fitted drift"].value[7]) < 0.1
    assert prefixes.first.value[7] < prefixes.anywhere.value[0]


def test_a_spread_that_lasts_is_told_from_noise_of_positions():
    rng = np.random.default_rng(0)
    lasting = np.repeat(rng.beta(6.0, 3.0, (200, 1)), 80, axis=1)
    found = analyse(traces_of(lasting, (rng.random(lasting.shape) < lasting).astype(float)), resamples=4)
    assert found.acceptance.share.value < 0.01
    assert found.acceptance.explained["lasting"].value == pytest.approx(1.0, abs=0.02)
    assert found.outcome.share.low < 0.1
    assert found.outcome.explained["lasting"].value > 0.7

    noise = rng.beta(6.0, 3.0, (200, 80))
    noisy = analyse(traces_of(noise), resamples=4).acceptance
    assert noisy.explained["position"].value == pytest.approx(1.0, abs=0.25)
    assert noisy.explained["lasting"].value < 0.3
    assert noisy.rate_std.value**2 < 0.1 * noise.var()


def test_a_hard_beginning_shows():
    rates = np.full((6, 40), 0.8)
    rates[:, :16] = 0.6
    analysis = analyse(traces_of(rates), resamples=4)
    assert analysis.early.value == pytest.approx(-0.2)
    np.testing.assert_allclose(analysis.position.value, [0.6, 0.6, 0.8, 0.8, 0.8])
    assert analyse(traces_of(rates[:, :16]), resamples=4).early is None


# What a draft gets of it


def test_rounds_as_played_are_expected_exactly():
    chances = np.array([[0.9, 0.2, 0.7, 0.5, 0.8, 0.3, 0.6], [0.4, 0.9, 0.1, 0.6, 0.0, 0.0, 0.0]])
    length = [7, 4]
    prefixes = analyse(traces_of(chances, length=length), resamples=2).prefixes
    for draft in (1, 2, 3):
        accepted = rounds = 0.0
        for row, end in zip(chances, length, strict=True):
            begins = {0: 1.0}
            for start in range(end - draft + 1):
                reached = begins.get(start, 0.0)
                rounds += reached
                for run in range(draft + 1):
                    chance = reached * np.prod(row[start : start + run])
                    chance *= 1.0 - row[start + run] if run < draft else 1.0
                    accepted += chance * run
                    begins[start + run + 1] = begins.get(start + run + 1, 0.0) + chance
        assert prefixes.played.value[draft - 1] == pytest.approx(accepted / rounds)
    anywhere = [0.9 + 0.9 * 0.2, 0.2 + 0.2 * 0.7, 0.7 + 0.35, 0.5 + 0.4, 0.8 + 0.24, 0.3 + 0.18]
    anywhere += [0.4 + 0.36, 0.9 + 0.09, 0.1 + 0.06]
    assert prefixes.anywhere.value[1] == pytest.approx(np.mean(anywhere))
    assert np.isnan(prefixes.played.value[7:]).all()  # no text is so long


def test_eq_12_is_right_where_acceptance_is_independent():
    prefixes = analyse(traces_of(np.full((6, 60), 0.7)), resamples=2).prefixes
    expected = expected_tokens(0.7, DRAFT_LENGTHS) - 1.0
    np.testing.assert_allclose(prefixes.played.value, expected)
    np.testing.assert_allclose(prefixes.anywhere.value, expected)
    for name in ("one rate", "task's rate", "request's rate"):
        np.testing.assert_allclose(prefixes.models[name], expected)
        np.testing.assert_allclose(prefixes.errors[name].value, 0.0, atol=1e-9)
    for name in ("fitted drift", "mobile"):
        np.testing.assert_allclose(prefixes.models[name], expected, rtol=0.02)


# The command


class _Small(Question):
    """The same worlds with few users and rounds."""

    def worlds(self, analysis):
        return {
            world: dataclasses.replace(protocol, config={**protocol.config, **SMALL})
            for world, protocol in super().worlds(analysis).items()
        }


@pytest.fixture
def pair_file(tmp_path):
    rng = np.random.default_rng(1)
    rates = drifting_rates(np.full(12, 0.7), 0.2, 0.7, 6.0, 40, rng)
    steps = np.rint(255 * rates).astype(int).tolist()
    tasks = [("code", row) if number % 2 else ("text", row) for number, row in enumerate(steps)]

    def sourced(value):
        return {"value": value, "source": "made up"}

    profile = {"name": "small", "draft_model": "draft", "target_model": "target"}
    profile |= {"verification_fixed_s": sourced(0.02), "verification_per_user_s": sourced(0.01)}
    profile |= {"retained_entries": sourced(64), "probability_bits": sourced(16), "vocabulary_index_bits": sourced(9)}
    profile |= {"drafting_latency_s": sourced(0.02), "server_drafting_latency_s": sourced(0.002)}
    profile["tasks"] = sourced([{"name": n, "acceptance_mean": 0.7, "acceptance_std": 0.1} for n in ("text", "code")])
    requests = [{"task": task, "acceptance": row, "outcome_probability": row} for task, row in tasks]
    profile["traces"] = {"scale": 255, "source": "Made up", "requests": requests}
    file = tmp_path / "small.json"
    file.write_text(json.dumps(profile), encoding="utf-8")
    return file


def page_of(file: Path, output: Path) -> str:
    question = _Small(model_pair=str(file), seeds=3, controllers=("fixed", "heterogeneous", "clairvoyant"))
    with Progress(disable=True) as progress:
        return answer(question, output, progress, resamples=4).read_text(encoding="utf-8")


def test_the_page_says_what_was_measured_and_goes_on_where_it_was(pair_file, tmp_path):
    output = tmp_path / "out"
    page = page_of(pair_file, output)
    for name in ("acceptance", "course", "prefix", "ranking"):
        assert f"({name}.png)" in page
        assert 5_000 < (output / f"{name}.png").stat().st_size < 200_000
    assert "no `truncation.csv`" in page
    assert "has no `timing`" in page
    assert "nan" not in page
    rows = (output / "trace" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 3 * 3

    (output / "trace" / "results.csv").write_text("\n".join(rows[:4]) + "\n", encoding="utf-8")
    untouched = (output / "independent" / "results.csv").stat().st_mtime_ns
    assert page_of(pair_file, output) == page
    assert (output / "independent" / "results.csv").stat().st_mtime_ns == untouched

    pair_file.write_text(pair_file.read_text(encoding="utf-8").replace("Made up", "Otherwise"), encoding="utf-8")
    with pytest.raises(FileExistsError, match="another pair"):
        page_of(pair_file, output)


def test_times_and_payloads_are_on_the_page_if_they_were_measured(pair_file, tmp_path):
    profile = json.loads(pair_file.read_text(encoding="utf-8"))

    def point(batch, length, median, **more):
        return {"batch": batch, "draft_length": length, "median_s": median, "low_s": median, "high_s": median, **more}

    profile["timing"] = {
        "source": "Made up",
        "verification": [
            point(1, 8, 0.031, residual_s=0.001),
            point(2, 8, 0.039, residual_s=-0.001),
            point(2, 1, 0.03),
            point(2, 16, 0.06),
        ],
    }
    pair_file.write_text(json.dumps(profile), encoding="utf-8")
    pair_file.with_name("truncation.csv").write_text(
        "retained_entries,payload_bits,acceptance_mean,standard_error\n1,25,0.5,0.01\n64,1600,0.7,0.01\n256,6400,0.702,0.01\n"
    )
    page = page_of(pair_file, tmp_path / "out")
    assert "drafts of 16 take 2.00 times as long as drafts of 1" in page.replace("\n", " ")
    assert "64 entries have 99 % of the acceptance of all 256" in page
    for name in ("entries", "verification"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5_000


def test_what_cannot_be_asked_is_refused_at_once(pair_file):
    with pytest.raises(ValueError, match="measured requests"):
        Question(model_pair="llama2")
    with pytest.raises(ValueError, match="controllers must include clairvoyant, got fixed, heterogeneous"):
        Question(model_pair=str(pair_file), controllers=("fixed", "heterogeneous"))
    with pytest.raises(ValueError, match=r"seeds must be an integer in \[1, 1000000000\], got 0"):
        Question(model_pair=str(pair_file), seeds=0)


def test_spreads_between_requests_and_between_positions_are_told_apart():
    rng = np.random.default_rng(0)
    acceptance = np.clip(rng.choice([0.4, 0.6], (200, 1)) + rng.choice([-0.3, 0.3], (200, 400)), 0.0, 1.0)
    (task,) = analyse(traces_of(acceptance), resamples=20).tasks
    assert task.std.value == pytest.approx(0.1, abs=0.005)
    assert task.position_std.value == pytest.approx(np.hypot(0.1, 0.3), abs=0.005)
    assert task.position_std.low < task.position_std.value < task.position_std.high


def test_without_drift_the_published_curve_is_fitted_by_the_moments_of_a_beta_distribution() -> None:
    def difference(shape: np.ndarray) -> np.ndarray:
        first, second = beta_parameters(*shape)
        steps = np.arange(len(published.REACHED))
        return np.cumprod((first + steps) / (first + second + steps)) - published.REACHED

    exact = optimize.least_squares(difference, [0.6, 0.3])
    found = published.fit(0.0, 1.0)
    assert (found.mean, found.std) == pytest.approx(tuple(exact.x), abs=0.01)
    assert found.misfit == pytest.approx(np.sqrt(np.mean(exact.fun**2)), abs=0.002)


def test_the_published_curve_tells_a_lasting_rate_from_one_that_drifts() -> None:
    lasting, drifting = published.fit(0.0, 1.0), published.fit(0.9, 5.0)
    assert drifting.misfit < 0.7 * lasting.misfit
    assert drifting.std > lasting.std
