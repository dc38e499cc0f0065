"""Measuring a pair: a profile that the environment takes, and no work twice."""

import csv
import itertools
import json

import numpy as np
import pytest
from multispin_train.measure import profile, timing
from multispin_train.measure import requests as measured_requests
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.measuring import measure_pair
from multispin_train.measure.profile import summary
from multispin_train.measure.requests import SCALE, RequestRow
from multispin_train.measure.timing import TimingRow
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
    monkeypatch.setattr(timing, "_DRAFT_LENGTHS", (2, 8))
    monkeypatch.setattr(measured_requests, "_GROUP", 2)
    # A clock on which drafting of 1 and 4 texts, verification of 1 to 4, and of other lengths take what eq. 7 says:
    # what is tested is what becomes of the times, not how busy the machine is.
    durations = itertools.cycle([0.010, 0.020, 0.012, 0.014, 0.016, 0.018, 0.030])
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
    fitted = [entry for entry in timing["verification"] if "residual_s" in entry]
    assert [entry["batch"] for entry in fitted] == [1, 2, 3, 4]
    for entry in fitted:
        fit = pair.verification_fixed_s + entry["batch"] * pair.verification_per_user_s
        assert entry["median_s"] == pytest.approx(fit + entry["residual_s"], abs=1e-6)

    with (tmp_path / "out" / "truncation.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["retained_entries"]) for row in rows] == [1, 4, 16, 64, 256, 257]
    assert float(rows[0]["acceptance_mean"]) < float(rows[-1]["acceptance_mean"])


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
