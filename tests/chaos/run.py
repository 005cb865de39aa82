"""One chaos run: set up, inject, heal, wait until nothing is left to do, check."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytask.exceptions import PyTaskException

from . import audit, history
from .admin import Admin, save
from .checker import Evidence
from .children import send, strays
from .faults import Scene
from .faults.base import Timeline
from .fleet import Fleet, Member
from .inject import Injector
from .options import Options
from .result import Result, judge
from .rollbacks import find_rollbacks
from .schedule import kinds_of, plan
from .surroundings import Surroundings
from .targets import TARGETS, Target
from .zones import Zone

#: Seconds the fleet gets to finish everything once all faults are healed (L2).
DRAIN_LIMIT = 90.0
#: Seconds between two times that a server writes its file anew.
REWRITE = 15.0


#: Workers that end by themselves after so many tasks, as an operator may have it, by slot.
RECYCLED = {"0": 400}


class Run:
    """Args: options: What to do."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="pytask-chaos-"))
        self.events = self.directory / "history"
        self.events.mkdir()
        self.record = history.Recorder(self.events, "harness")
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
        fleet, zones = Fleet([]), list[Zone]()
        self.surroundings = Surroundings(self.directory, self.options.workers)
        try:
            zones += [
                target.zone(self.surroundings.host(number))
                for number in range(self.options.workers + 1)
            ]
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
                self.admin,
                self.surroundings,
            )
            self._disturb(fleet)
            self._heal(target, fleet, zones)
            evidence = self._evidence(target)
        finally:
            fleet.close()
            for zone in zones:
                zone.close()
            target.close()
            self.surroundings.close()
        result = Result(
            self.options,
            evidence,
            self.injector.done,
            self.injector.never_possible,
            self.surroundings.reasons,
            self.problems,
            self.measures,
            self.samples,
        )
        judge(result, self.kinds, fleet, self.directory)
        return result

    # Set up

    def _members(self, target: Target, zones: list[Zone]) -> list[Member]:
        config = self.directory / "config.json"
        options = self.options
        save(
            config,
            {
                "seed": options.seed,
                "directory": str(self.events),
                "quiet": str(self.directory / "quiet"),
                "settings": {**options.settings, "partitions": target.partitions},
                "monitor": {
                    "loop_interval": 1,
                    "task_timeout": options.settings.get("task_timeout", 60),
                },
                "places": [target.place(zone) for zone in zones],
                "client_place": len(zones) - 1,
                "recycled": RECYCLED,
                "rate": options.rate,
                "backlog": options.backlog,
                "services": 24,
                "control_pause": 0.1,
            },
        )
        logs = self.directory / "logs"
        logs.mkdir()
        roles = {"worker": options.workers, "producer": options.producers, "controller": 1}
        members = [
            Member(
                role,
                number,
                config,
                logs,
                self.surroundings.env(number) if role == "worker" else None,
            )
            for role, count in roles.items()
            for number in range(count)
        ]
        for member in members:
            if member.role == "worker" and str(member.number) in RECYCLED:
                # It may find that it is to end while Redis cannot be told everything.
                member.may_end_with.add(1)
        return members

    # Faults

    def _disturb(self, fleet: Fleet) -> None:
        options = self.options
        self.kinds = kinds_of(options.topology, options.only, self.surroundings.reasons)
        planned = plan(options.seed, options.topology, options.seconds, options.pause, self.kinds)
        self.injector = Injector(self.scene, planned)
        fleet.tick()
        self._wait(lambda: len(self._living()) == options.workers, 30, "all workers are there")
        began = time.monotonic()
        self.record("begin")
        while time.monotonic() - began < options.seconds:
            self.injector.tick(time.monotonic() - began)
            self._tick(began)
        self.record("end")
        self.measures["disturbed"] = time.monotonic() - began

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
        if self.scene.is_served:
            if self.scene.target.may_lose and not self.scene.is_healthy():
                self.record("outage", what="the servers do not agree", seconds=1.0)
            try:
                self.admin.drain_audit()
                if at // REWRITE > (at - 1.0) // REWRITE:
                    self.admin.rewrite(int(at // REWRITE))
            except PyTaskException:
                sample["away"] = 1
        self.samples.append(sample)

    # Quiet again

    def _heal(self, target: Target, fleet: Fleet, zones: list[Zone]) -> None:
        for member in [*fleet.of("producer"), *fleet.of("controller")]:
            member.wanted = False
        (self.directory / "quiet").touch()
        self.timeline.run_all()
        fleet.heal()
        self.surroundings.heal()
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
        self._wait(lambda: self._no_strays(fleet), 10, "children of dead workers have ended")
        self.record("quiet")

    def _no_strays(self, fleet: Fleet) -> bool:
        left = strays(self.events, [worker.pid for worker in fleet.workers])
        for child in left:
            # One that was frozen before it could ask the kernel to end it with its worker.
            send(child, signal.SIGCONT)
        return not left

    def _is_done(self) -> bool:
        self.admin.stop_services()
        # A failover may have taken a resume back.
        for queue in self.admin.store.list_paused():
            self.admin.resume(queue)
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

    # Evidence

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
            rollbacks=find_rollbacks(
                target.nodes if target.may_lose else (),
                events,
                self.options.appendfsync == "everysec",
            ),
            partitions=target.partitions,
            workers=self.admin.living(),
        )
