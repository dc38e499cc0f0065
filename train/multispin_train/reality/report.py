"""The page of what reality says: its sections, in their order."""

from __future__ import annotations

from pathlib import Path

from multispin_env.files import write_atomically
from multispin_train.reality.acceptance_sections import acceptance_section, course_section, larger_pair_section
from multispin_train.reality.findings import Findings
from multispin_train.reality.prefix_section import prefix_section
from multispin_train.reality.ranking_section import ranking_section
from multispin_train.reality.system_sections import entries_section, verification_section


def write_report(folder: Path, findings: Findings) -> Path:
    """Writes ``reality.md`` and its pictures into the folder and returns the page."""
    sections = (
        acceptance_section,
        course_section,
        larger_pair_section,
        prefix_section,
        entries_section,
        verification_section,
        ranking_section,
    )
    page = folder / "reality.md"
    text = "\n\n".join([_head(findings), *(section(folder, findings) for section in sections)]) + "\n"
    write_atomically(page, text)
    return page


def _head(findings: Findings) -> str:
    pair, traces = findings.pair, findings.traces
    return f"""# What reality says: {pair.name}

`{pair.draft_model}` drafts for `{pair.target_model}`: {len(traces.length)} texts that the target wrote,
{traces.length.sum()} tokens in all, {traces.length.min()} to {traces.length.max()} each. {traces.source}.

Brackets hold 95 % intervals: percentile bootstrap over requests, drawn within tasks, unless another unit is named. The
page is written by `multispin reality`."""
