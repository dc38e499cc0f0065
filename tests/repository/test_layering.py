"""The order of the four packages, and the size of files."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the lowest to the highest; each imports only those before it.
PACKAGES = {
    "multispin_env": ROOT,
    "multispin_baselines": ROOT / "baselines",
    "multispin_agents": ROOT / "agents",
    "multispin_train": ROOT / "train",
}
LONGEST_FILE = 400


def files(package):
    return sorted((PACKAGES[package] / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_above_it(package, offences):
    above = list(PACKAGES)[list(PACKAGES).index(package) + 1 :]
    assert not offences(files(package), PACKAGES[package], [*above, "tests"])


def test_each_package_but_the_lowest_builds_on_the_one_below(offences):
    # So that the test above looks where there is something to find.
    for below, package in zip(PACKAGES, list(PACKAGES)[1:], strict=False):
        assert offences(files(package), PACKAGES[package], [below])


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "multispin_train"])
def test_only_the_commands_use_what_draws_terminals_and_reads_command_lines(package, offences):
    assert not offences(files(package), PACKAGES[package], ["argparse", "tyro"])


def test_no_file_has_grown_too_long_to_be_read_at_once():
    folders = ("multispin_env", "baselines", "agents", "train", "tests")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    lengths = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in sources}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}
