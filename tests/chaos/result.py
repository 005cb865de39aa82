"""What a run came to: the verdict, why it failed, and what is kept of it."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .admin import save
from .checker import Evidence, Verdict, check
from .checker.ability import Ability
from .checker.coverage import check_coverage
from .checker.liveness import (
    check_last_reaps,
    check_recoveries,
    find_recoveries,
    make_timeline,
    measure_overlaps,
)
from .faults import Fault
from .fleet import Fleet
from .options import Options


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Result:
    """What a run came to.

    Attributes:
        faults: How often each was injected.
        skipped: How often one could not be.
        absent: What this machine has not got, and why, see :class:`Surroundings`.
        problems: Why it failed apart from violations; empty is good.
        measures: Seconds and counts for the report.
        samples: What was measured once a second.
        verdict: What the checker found.
    """

    options: Options
    evidence: Evidence
    faults: Counter[str]
    skipped: Counter[str]
    absent: dict[str, str]
    problems: list[str]
    measures: dict[str, float]
    samples: list[dict[str, Any]]
    verdict: Verdict = field(default_factory=lambda: Verdict([]))

    @property
    def passed(self) -> bool:
        return not self.verdict.violations and not self.problems


def judge(result: Result, kinds: Iterable[Fault], fleet: Fleet, directory: Path) -> None:
    """Check everything, and remove the directory of the run unless somebody has to look at it."""
    evidence, measures, options = result.evidence, result.measures, result.options
    verdict = result.verdict = check(evidence)
    recoveries = find_recoveries(evidence)
    timeout = float(options.settings["worker_timeout"])
    verdict.violations += check_recoveries(recoveries, timeout, measures)
    verdict.violations += check_last_reaps(evidence, timeout)
    measures["somebody_able"] = Ability(evidence).seconds
    measure_overlaps(evidence, measures)
    if options.strict and not options.only:
        names = [fault.name for fault in kinds]
        result.problems += check_coverage(
            options.seconds, names, result.faults, verdict.numbers, evidence.codes
        )
    for member in fleet.members:
        for status in member.unexpected:
            log = directory / "logs" / f"{member.role}{member.number}.log"
            result.problems.append(f"{member.role} {member.number} ended with {status}; see {log}")
    if options.keep:
        _keep(result)
    if result.passed:
        shutil.rmtree(directory)
    else:
        _explain(result, directory)


def _explain(result: Result, directory: Path) -> None:
    """Write down the life of each task that a promise was broken to."""
    wrong = {violation.task_id for violation in result.verdict.violations}
    with (directory / "violations.jsonl").open("w") as file:
        for entry in result.evidence.audit:
            if entry["i"] in wrong:
                file.write(json.dumps(entry) + "\n")
    save(directory / "rollbacks.json", [one._asdict() for one in result.evidence.rollbacks])
    say(f"evidence in {directory}")


def _keep(result: Result) -> None:
    options = result.options
    path = Path(options.keep)
    path.mkdir(parents=True, exist_ok=True)
    summary = {
        "options": asdict(options),
        "faults": dict(result.faults),
        "skipped": dict(result.skipped),
        "absent": result.absent,
        "numbers": dict(result.verdict.numbers),
        "violations": [str(one) for one in result.verdict.violations[:200]],
        "problems": result.problems,
        "measures": result.measures,
        "samples": result.samples,
        "codes": dict(result.evidence.codes),
        "timeline": make_timeline(result.evidence, find_recoveries(result.evidence)),
    }
    save(path / f"{options.topology}-{options.seed}.json", summary)
