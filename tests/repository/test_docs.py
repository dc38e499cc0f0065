"""Pages for users: their code runs as it stands there, their links lead somewhere, their tables have every field."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from multispin_env.config import TaskConfig
from multispin_env.profiles import ModelPair, load_model_pair

ROOT = Path(__file__).parents[2]
WITH_CODE = ("controllers", "model_pairs", "scenarios")
# A block of code, and the file that a comment before it says to save it as.
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```\n", re.DOTALL)


def blocks(page):
    return [(found["file"], found["language"], found["code"]) for found in BLOCK.finditer(page.read_text("utf-8"))]


def run(arguments, folder):
    """Runs Python as a user would, far from the clone, with the packages that the tests use."""
    paths = [str(Path(path or ".").absolute()) for path in sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "80"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs_in_its_order(name, tmp_path):
    kinds = set()
    for file, language, code in blocks(ROOT / "docs" / f"{name}.md"):
        kinds.add("file" if file else language)
        if file:
            (tmp_path / file).write_text(code, encoding="utf-8")
        elif language == "python":
            (tmp_path / "block.py").write_text(code, encoding="utf-8")
            run(["-W", "error", "block.py"], tmp_path)
        else:
            assert language == "bash"
            for line in code.strip().splitlines():
                program, *arguments = shlex.split(line)
                assert program == "multispin"
                run(["-m", "multispin_train", *arguments], tmp_path)
                output = tmp_path / arguments[arguments.index("--output") + 1]
                assert (output / "report.md").is_file()
    assert kinds == {"file", "python", "bash"}


def test_the_example_of_a_pair_is_the_page_s(tmp_path):
    example = ROOT / "docs" / "examples" / "pair.json"
    in_page = {file: code for file, _, code in blocks(ROOT / "docs" / "model_pairs.md") if file}
    assert in_page["pair.json"] == example.read_text(encoding="utf-8")
    pair = load_model_pair(example)
    assert [task.name for task in pair.tasks] == ["code", "chat"]
    assert pair.traces is not None
    assert pair.traces.task == ("code", "code", "chat")


def test_the_page_on_pairs_has_every_field_with_its_range():
    page = (ROOT / "docs" / "model_pairs.md").read_text(encoding="utf-8")
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` \|.*$", page, re.MULTILINE)}
    fields = [*dataclasses.fields(ModelPair), *dataclasses.fields(TaskConfig)]
    assert rows.keys() >= {field.name for field in fields}
    for field in fields:
        if "low" in field.metadata:
            assert _number(field.metadata["low"]) in rows[field.name]
            assert _number(field.metadata["high"]) in rows[field.name]


def _number(value):
    """A limit as pages write it."""
    return f"{int(value):,}".replace(",", " ") if value == int(value) else f"{value:.12g}".replace("1e-0", "1e-")


PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in headings}, link


def test_contributing_names_what_there_is():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][\w-]*)`", text))
    assert named
    assert named <= targets
    paths = [word for word in re.findall(r"`([\w./-]+)`", text) if "/" in word]
    assert len(paths) > 10
    # Folders of the package are named from there as well.
    assert not [path for path in paths if not any((root / path).exists() for root in (ROOT, ROOT / "multispin_env"))]
