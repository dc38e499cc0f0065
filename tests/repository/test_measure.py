"""Measuring a pair: a profile that the environment takes, and no work twice."""

import csv
import itertools
import json
from importlib import resources

import numpy as np
import pytest
from multispin_train.measure import profile, timing
from multispin_train.measure import requests as measured_requests
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.measuring import measure_pair
from multispin_train.measure.profile import summary
from multispin_train.measure.requests import SCALE, RequestRow
from multispin_train.measure.timing import TimingRow
from multispin_train.measure.verification_fit import VerificationFit, fit_verification
from rich.progress import Progress

from multispin_env import make_config
from multispin_env.evaluation.results import read_rows
from multispin_env.profiles import load_model_pair
from multispin_env.speculative.recording import record

pytestmark = pytest.mark.live

PROMPTS = [
    ("code", "def f(x):\n"),
    ("text", "The "),
    ("code", "class A:\n    def "),
    ("text", "x"),
    ("code", "for i in "),
]


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    for module in (timing, profile):
        monkeypatch.setattr(module, "REPEATS", 3)
        monkeypatch.setattr(module, "BATCHES", (1, 2, 3, 4))
    monkeypatch.setattr(timing, "DRAFT_LENGTHS", (2, 8))
    monkeypatch.setattr(timing, "_BATCHES_OF_EVERY_LENGTH", (4,))
    monkeypatch.setattr(measured_requests, "_GROUP", 2)
    # A clock on which drafting of 1 and 4 texts takes some time, and verification of 1 to 4, and of 4 with shorter
    # drafts, 10 ms + 2 ms a user + 1 ms for each token beyond 15: what is tested is what becomes of the times, not how
    # busy the machine is.
    durations = itertools.cycle([0.010, 0.020, 0.012, 0.017, 0.028, 0.039, 0.018])
    marks = itertools.chain.from_iterable((0.0, duration) for duration in durations)
    monkeypatch.setattr("multispin_train.measure.timing.time.perf_counter", lambda: next(marks))


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"task": task, "prompt": prompt}) for task, prompt in PROMPTS]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def measured(prompts, output, **changes):
    values = {"name": "tiny", "draft": "tiny-draft", "target": "tiny-target", "max_tokens": 12, **changes}
    with Progress(disable=True) as progress:
        return measure_pair(Measurement(prompts=prompts, **values), output, progress)


def test_the_profile_holds_what_was_measured_and_the_environment_takes_it(prompts, tmp_path):
    file = measured(prompts, tmp_path / "out", retained_entries=32)
    pair = load_model_pair(file)
    assert (pair.name, pair.retained_entries, pair.vocabulary_index_bits) == ("tiny", 32, 9)
    assert make_config("requests", str(file)).payload_bits == 32 * (16 + 9)
    assert pair.drafting_latency_s > 0.0
    assert pair.verification_fixed_s == pytest.approx(0.010)
    assert pair.verification_per_user_s == pytest.approx(0.002)
    assert pair.verification_per_token_s == pytest.approx(0.001)
    assert pair.verification_free_tokens == 15
    system = make_config("mobile", str(file))
    assert (system.verification_per_token_s, system.verification_free_tokens) == (pair.verification_per_token_s, 15)
    assert "acceptance, code" in "".join(summary(file).columns[0].cells)

    traces = pair.traces
    assert traces.task == tuple(task for task, _ in PROMPTS)
    assert np.all((traces.length >= 1) & (traces.length <= 12))
    for task in pair.tasks:
        rows = [row for row, name in enumerate(traces.task) if name == task.name]
        means = [traces.acceptance[row, : traces.length[row]].mean() for row in rows]
        assert np.mean(means) == pytest.approx(task.acceptance_mean, abs=1.0 / SCALE)
        assert np.std(means) == pytest.approx(task.acceptance_std, abs=1.0 / SCALE)

    timing = json.loads(file.read_text(encoding="utf-8"))["timing"]
    points = timing["verification"]
    assert [(entry["batch"], entry["draft_length"]) for entry in points] == [(1, 8), (2, 8), (3, 8), (4, 2), (4, 8)]
    for entry in points:
        fit = VerificationFit.of(pair).seconds(entry["batch"], entry["draft_length"])
        assert entry["median_s"] == pytest.approx(fit + entry["residual_s"], abs=1e-6)

    with (tmp_path / "out" / "truncation.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["retained_entries"]) for row in rows] == [1, 4, 16, 64, 256, 257]
    assert float(rows[0]["acceptance_mean"]) < float(rows[-1]["acceptance_mean"])


BATCH, LENGTH = (np.ravel(axis) for axis in np.meshgrid([1, 2, 4, 8, 12, 16], [1, 2, 4, 8, 16, 25]))


@pytest.mark.parametrize(
    "true",
    [
        VerificationFit(0.05, 0.002, 0.0015, 30),
        VerificationFit(0.02, 0.01, 0.0004, 120),
        VerificationFit(0.0, 0.003, 0.001, 0),
    ],
)
def test_the_fit_finds_the_constants_exactly_and_under_noise(true):
    seconds = true.seconds(BATCH, LENGTH)
    found = fit_verification(BATCH, LENGTH, seconds)
    assert found == pytest.approx(true, abs=1e-6)
    rng = np.random.default_rng(0)
    noisy = fit_verification(BATCH, LENGTH, seconds * np.exp(0.03 * rng.standard_normal(len(seconds))))
    assert noisy.per_token_s == pytest.approx(true.per_token_s, rel=0.15)
    np.testing.assert_allclose(noisy.seconds(BATCH, LENGTH), seconds, rtol=0.06)


def test_where_lengths_do_not_count_the_fit_is_that_of_eq_7():
    assert fit_verification(BATCH, LENGTH, 0.0227 + 0.0127 * BATCH) == VerificationFit(0.0227, 0.0127, 0.0, 0)
    with pytest.raises(ValueError, match="must take longer for more users or tokens"):
        fit_verification(BATCH, LENGTH, 0.1 - 0.001 * BATCH)


def test_the_shipped_pair_s_constants_are_the_fit_of_its_times():
    text = resources.files("multispin_env.profiles").joinpath("smollm2.json").read_text(encoding="utf-8")
    points = json.loads(text)["timing"]["verification"]
    columns = ([point[name] for point in points] for name in ("batch", "draft_length", "median_s"))
    assert fit_verification(*columns) == VerificationFit.of(load_model_pair("smollm2"))


def test_an_interrupted_measurement_goes_on_where_it_stopped(prompts, tmp_path, monkeypatch):
    whole = measured(prompts, tmp_path / "whole")
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return record(*arguments)

    monkeypatch.setattr(measured_requests, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(prompts, tmp_path / "cut")
    kept = read_rows(tmp_path / "cut" / "requests" / "results.csv", RequestRow)
    assert [row.request for row in kept] == [0, 1]
    file = measured(prompts, tmp_path / "cut")
    assert len(calls) == 4
    assert json.loads(file.read_text())["traces"] == json.loads(whole.read_text())["traces"]

    # All is there: nothing is run, and the profile is written again as it was.
    timings = read_rows(tmp_path / "cut" / "timing" / "results.csv", TimingRow)
    written = file.read_text()
    file.unlink()
    assert measured(prompts, tmp_path / "cut").read_text() == written
    assert len(calls) == 4
    assert len(timings) == len(set(timings)) == 3 * 7


def test_what_cannot_be_measured_is_refused_by_name(prompts, tmp_path):
    for changes, complaint in (
        ({"name": "a/b"}, "name must be a file's name without its ending, got 'a/b'"),
        ({"max_tokens": 0}, r"max_tokens must be an integer in \[1, 1000000\], got 0"),
        ({"max_tokens": 10**400}, r"max_tokens must be an integer in \[1, 1000000\], got 1000"),
        ({"temperature": 0.0}, r"temperature must be a number in \[1e-6, 1e6\], got 0.0"),
        ({"device": "x"}, "device must be one that PyTorch can use here, such as cpu or cuda, got 'x'"),
        ({"retained_entries": 0}, "retained_entries must be an integer of at least 1, got 0"),
        ({"max_tokens": 505}, r"prompt 1 of .* must have at most 7 tokens .* got 10"),
    ):
        with pytest.raises(ValueError, match=complaint):
            measured(prompts, tmp_path / "out", **changes)
    measured(prompts, tmp_path / "out", max_tokens=2)
    with pytest.raises(FileExistsError, match="another max_tokens"):
        measured(prompts, tmp_path / "out")
