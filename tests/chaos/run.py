"""One chaos run: set up, inject, heal, wait until nothing is left to do, check."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytask.exceptions import PyTaskException

from . import audit, history
from .admin import Admin, save
from .checker import Evidence, Verdict, check
from .checker.coverage import check_coverage
from .checker.liveness import (
    check_recoveries,
    find_recoveries,
    make_timeline,
    measure_overlaps,
)
from .faults import FAULTS, Scene
from .faults.base import Timeline
from .fleet import Fleet, Member
from .options import Options
from .schedule import Planned, plan
from .targets import TARGETS, Target
from .zones import Zone

#: Seconds the fleet gets to finish everything once all faults are healed (L2).
DRAIN_LIMIT = 90.0
#: Seconds until a task must have started when workers are idle (L3).
PROMPT = 1.0


@dataclass
class Result:
    """What a run came to.

    Attributes:
        faults: How often each was injected.
        skipped: How often one could not be.
        problems: Why it failed apart from violations; empty is good.
        measures: Seconds and counts for the report.
        samples: What was measured once a second.
    """

    options: Options
    verdict: Verdict
    faults: Counter[str]
    skipped: Counter[str]
    problems: list[str]
    measures: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    evidence: Evidence | None = None

    @property
    def passed(self) -> bool:
        return not self.verdict.violations and not self.problems


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Run:
    """Args: options: What to do."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="pytask-chaos-"))
        self.events = self.directory / "history"
        self.events.mkdir()
        self.record = history.Recorder(self.events, "harness")
        self.faults: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []
        self.measures: dict[str, float] = {}
        self.samples: list[dict[str, Any]] = []
        self.timeline = Timeline()
        self._next_look = 0.0

    def execute(self) -> Result:
        """Do everything; servers and processes are gone afterwards."""
        audit.install()
        target: Target = TARGETS[self.options.topology](
            self.options.server, self.options.appendfsync
        )
        zones = [target.zone() for _ in range(self.options.workers + 1)]
        fleet = Fleet([])
        try:
            self.admin = Admin(target, self.options.settings, self.record)
            fleet.members += self._members(target, zones)
            self.scene = Scene(
                target,
                fleet,
                zones[:-1],
                zones[-1],
                self.record,
                self.timeline,
                self.options.settings,
                self.admin.submit,
            )
            self._disturb(fleet)
            self._heal(target, fleet, zones)
            evidence = self._evidence(target)
        finally:
            fleet.close()
            for zone in zones:
                zone.close()
            target.close()
        return self._judge(evidence, fleet)

    # Set up

    def _members(self, target: Target, zones: list[Zone]) -> list[Member]:
        config = self.directory / "config.json"
        options = self.options
        save(
            config,
            {
                "seed": options.seed,
                "directory": str(self.events),
                "settings": {**options.settings, "partitions": target.partitions},
                "monitor": {
                    "loop_interval": 1,
                    "task_timeout": options.settings.get("task_timeout", 60),
                },
                "places": [target.place(zone) for zone in zones],
                "client_place": len(zones) - 1,
                "rate": options.rate,
                "backlog": 1500,
                "services": 24,
                "control_pause": 0.1,
            },
        )
        logs = self.directory / "logs"
        logs.mkdir()
        roles = {"worker": options.workers, "producer": options.producers, "controller": 1}
        return [
            Member(role, number, config, logs)
            for role, count in roles.items()
            for number in range(count)
        ]

    # Faults

    def _disturb(self, fleet: Fleet) -> None:
        options = self.options
        planned = plan(options.seed, options.topology, options.seconds, options.pause, options.only)
        fleet.tick()
        self._wait(lambda: len(self._living()) == options.workers, 30, "all workers are there")
        began = time.monotonic()
        self.record("begin")
        while time.monotonic() - began < options.seconds:
            while planned and planned[0].at <= time.monotonic() - began:
                self._inject(planned.pop(0))
            self._tick(began)
        self.record("end")
        self.measures["disturbed"] = time.monotonic() - began

    def _inject(self, planned: Planned, tries: int = 0) -> None:
        fault = FAULTS[planned.name]
        seconds = None
        if not (fault.exclusive and "servers" in self.scene.busy):
            seconds = fault.inject(self.scene, random.Random(f"{planned.key}:{tries}"))
        if seconds is None:
            # Another fault is in its way, or nothing is there that it could be done to.
            if tries < 40:
                self.timeline.after(0.25, lambda: self._inject(planned, tries + 1))
            else:
                self.skipped[planned.name] += 1
            return
        self.faults[planned.name] += 1
        self.record("fault", name=planned.name, area=fault.area, seconds=seconds, key=planned.key)

    def _tick(self, began: float) -> None:
        self.timeline.run_due()
        self.scene.fleet.tick()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + 1.0
            self._sample(time.monotonic() - began)
        time.sleep(min(0.02, max(0.0, self.timeline.next_in)))

    def _sample(self, at: float) -> None:
        fleet = self.scene.fleet
        sample = {
            "at": round(at, 2),
            "rss": sum(member.rss() for member in fleet.workers),
            "descriptors": sum(member.descriptors() for member in fleet.workers),
        }
        if not self.scene.target.may_lose and "servers" not in self.scene.busy:
            try:
                self.admin.drain_audit()
            except PyTaskException:
                sample["away"] = 1
        self.samples.append(sample)

    # Quiet again

    def _heal(self, target: Target, fleet: Fleet, zones: list[Zone]) -> None:
        for member in [*fleet.of("producer"), *fleet.of("controller")]:
            member.wanted = False
        self.timeline.run_all()
        fleet.heal()
        for zone in zones:
            zone.mode("pass")
        for member in [*fleet.of("producer"), *fleet.of("controller")]:
            member.excused = True
            member.end(5.0)
        self._wait(target.is_healthy, 40, "the servers agree", fleet)
        healed = time.monotonic()
        self.record("healed")
        self._wait(lambda: len(self._living()) >= self.options.workers, 30, "all workers", fleet)
        self._wait(self._is_done, DRAIN_LIMIT, "nothing is left to do (L2)", fleet, 0.25)
        self.measures["drain"] = time.monotonic() - healed
        if target.is_cluster:
            self._find_orphans(fleet)
        self._probe(fleet)
        self.record("quiet")

    def _is_done(self) -> bool:
        self.admin.stop_services()
        self.last_left = self.admin.left()
        return not self.last_left

    def _living(self) -> list[str]:
        try:
            return self.admin.living()
        except PyTaskException:
            return []

    def _find_orphans(self, fleet: Fleet) -> None:
        """Do at once what Monitors do by and by: look at every record for one in no list.

        A script that runs where a slot is moving to writes a list there that is still to come, and
        one of the two is given up when they meet.
        """
        found = 0
        for task_id in set(self.admin.store.scan_records()):
            if int(self.admin.store.adopt(task_id)) > 0:
                self.record("orphan", id=task_id)
                found += 1
        self.measures["orphans"] = found
        if found:
            self._wait(self._is_done, 30, "the orphans end", fleet)

    def _probe(self, fleet: Fleet) -> None:
        """L3: every living worker takes part as soon as there is enough to do for all."""
        slots = int(self.options.settings["concurrency"]) * self.options.workers
        tasks = [
            {"task": "chaos/sleep", "task_id": f"probe-{number}", "data": {"seconds": 1.2}}
            for number in range(slots)
        ]
        began = time.monotonic()
        self.admin.submit(tasks)

        def taken() -> bool:
            owners = {
                self.admin.store.read_fields(f"probe-{number}", ["worker"])[0]
                for number in range(0, slots, 2)
            }
            return len(owners - {None}) >= self.options.workers

        self._wait(taken, 10, "every worker takes tasks (L3)", fleet, 0.02)
        self.measures["all_workers_claimed"] = time.monotonic() - began
        self._wait(self._is_done, 30, "the last tasks end", fleet, 0.1)

    def _wait(
        self,
        condition: Callable[[], bool],
        seconds: float,
        what: str,
        fleet: Fleet | None = None,
        pause: float = 0.1,
    ) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if fleet is not None:
                fleet.tick()
            try:
                if condition():
                    return True
            except (PyTaskException, StopIteration) as error:
                self.record("trouble", what=what, error=str(error)[:200])
            time.sleep(pause)
        left = f"; left: {self.last_left}" if hasattr(self, "last_left") else ""
        self.problems.append(f"not within {seconds:g} s: {what}{left}")
        return False

    # Verdict

    def _evidence(self, target: Target) -> Evidence:
        events = history.read_all(self.events)
        hand = {one for event in events if event["ev"] == "hand" for one in event["ids"]}
        return Evidence(
            audit=self.admin.read_audit(),
            history=events,
            dump=self.admin.dump(),
            codes=self.admin.read_codes(),
            hand=hand,
            max_reaps=int(self.options.settings["max_reaps"]),
            tagged=target.is_cluster,
            drained=not self.problems,
            rollback=target.may_lose,
            lazy_file=self.options.appendfsync == "everysec",
            workers=self.admin.living(),
        )

    def _judge(self, evidence: Evidence, fleet: Fleet) -> Result:
        verdict = check(evidence)
        recoveries = find_recoveries(evidence)
        timeout = float(self.options.settings["worker_timeout"])
        verdict.violations += check_recoveries(recoveries, timeout, self.measures)
        measure_overlaps(evidence, self.measures)
        self._check_coverage(verdict, evidence)
        for member in fleet.members:
            for status in member.unexpected:
                log = self.directory / "logs" / f"{member.role}{member.number}.log"
                self.problems.append(
                    f"{member.role} {member.number} ended with {status}; see {log}"
                )
        result = Result(
            self.options,
            verdict,
            self.faults,
            self.skipped,
            self.problems,
            self.measures,
            self.samples,
            evidence,
        )
        if self.options.keep:
            self._keep(result)
        if result.passed:
            shutil.rmtree(self.directory)
        else:
            self._explain(result)
        return result

    def _explain(self, result: Result) -> None:
        """Write down the life of each task that a promise was broken to."""
        assert result.evidence is not None
        wrong = {violation.task_id for violation in result.verdict.violations}
        with (self.directory / "violations.jsonl").open("w") as file:
            for entry in result.evidence.audit:
                if entry["i"] in wrong:
                    file.write(json.dumps(entry) + "\n")
        say(f"evidence in {self.directory}")

    def _check_coverage(self, verdict: Verdict, evidence: Evidence) -> None:
        options = self.options
        if options.strict and not options.only:
            kinds = [
                fault.name for fault in FAULTS.values() if options.topology in fault.topologies
            ]
            self.problems += check_coverage(
                options.seconds, kinds, self.faults, verdict.numbers, evidence.codes
            )

    def _keep(self, result: Result) -> None:
        assert result.evidence is not None
        path = Path(self.options.keep)
        path.mkdir(parents=True, exist_ok=True)
        summary = {
            "options": asdict(self.options),
            "faults": dict(result.faults),
            "skipped": dict(result.skipped),
            "numbers": dict(result.verdict.numbers),
            "violations": [str(one) for one in result.verdict.violations[:200]],
            "problems": result.problems,
            "measures": result.measures,
            "samples": result.samples,
            "codes": dict(result.evidence.codes),
            "timeline": make_timeline(result.evidence, find_recoveries(result.evidence)),
        }
        name = f"{self.options.topology}-{self.options.seed}.json"
        save(path / name, summary)
