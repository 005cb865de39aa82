"""The checker notices what it is there to notice: made-up histories, each with one thing wrong."""

from collections import Counter

import pytest

from .checker import Evidence, check
from .checker.ability import HOG_SECONDS, WITNESS_SECONDS, Ability
from .checker.coverage import check_coverage
from .checker.evidence import Rollback
from .checker.limits import check_limits
from .checker.liveness import check_last_reaps
from .checker.timetable import check_schedules
from .checker.transitions import final_tracks


def entry(script, before="", to="", **details):
    """One entry of the audit of task ``t``."""
    return {
        "s": script,
        "i": "t",
        "f": before,
        "t": to,
        "k": {},
        "q": {},
        "at": 100.0,
        "now": "100.000",
        "stream": "audit",
        **details,
    }


def enqueue(**details):
    fields = {"f": "-", "a": {"eid": "e1", "task": "x"}, "q": {"n": 1}}
    return entry("enqueue", to="WAIT", **{**fields, **details})


def claim(token="1-a", attempt=1, before="WAIT", **details):
    return entry(
        "claim",
        before,
        "RUNNING",
        R=token,
        w="w1",
        a={"attempts": str(attempt)},
        **{"q": {"n": -1, "s": 1, "l": 1}, **details},
    )


def finish(token="1-a", **details):
    fields = {
        "a": {"done_run": token, "output": f'{{"token":"{token}"}}', "end_entry": "1"},
        "q": {"e": 1, "s": -1, "l": -1},
        "r": "1-a",
        "c": token,
    }
    return entry("finish", "RUNNING", "SUCCESS", **{**fields, **details})


def reap(age=9.0, **details):
    fields = {
        "a": {"reaps": "1"}, "b": {"worker": "w"}, "q": {"n": 1, "s": -1, "l": -1}, "r": "1-a",
        "stream": "audit",
    }  # fmt: skip
    return entry(
        "reap", "RUNNING", "WAIT", age=age, timeouts=["4", "2", "3"], **{**fields, **details}
    )


def acknowledge(**details):
    fields = {"q": {"e": -1}, "c": "1-a", "k": {"done_run": "1-a"}}
    return entry("acknowledge_ended", "SUCCESS", "-", **{**fields, **details})


ATTEMPT = [{"ev": "enq.invoke", "ids": ["t"], "wall": 1}, {"ev": "enq.ok", "ids": ["t"], "wall": 2}]
GOOD = [enqueue(), claim(), finish(), acknowledge()]


def rules(audit, history=(), **details):
    evidence = Evidence(audit=list(audit), history=[*ATTEMPT, *history], **details)
    return set(check(evidence).by_rule())


def test_a_life_without_a_flaw_is_no_violation():
    assert rules(GOOD, drained=True) == set()


@pytest.mark.parametrize(
    ("rule", "audit"),
    [
        ("I3", [enqueue(), claim(), reap(age=1.0)]),
        ("I4", [enqueue(), claim(), reap(), claim(attempt=2)]),
        ("I6", [enqueue(), claim(), finish("1-b", a={"done_run": "1-b"})]),
        ("I7", [enqueue(), finish()]),
        ("I7", [enqueue(), claim(), claim("2-b", 2, before="RUNNING", r="1-a")]),
        ("I7", [enqueue(), enqueue(f="WAIT")]),
        ("I8", [enqueue(), claim(attempt=2)]),
        ("I8", [enqueue(), claim(), reap(a={})]),
        ("I8", [enqueue(), claim(), reap(a={"reaps": "3"}, k={"reaps": "2"})]),
        ("I9", [enqueue(q={})]),
        ("I9", [enqueue(), claim(q={"n": -1, "s": 1})]),
        ("I9", [enqueue(), claim(), finish(q={"s": -1, "l": -1})]),
        ("I11", [enqueue(), claim(), entry("heartbeat", "RUNNING", "RUNNING", back=True)]),
        ("I14", [enqueue(), claim(), finish(), acknowledge(c="1-b")]),
        ("I18", [enqueue(), claim(paused=1)]),
        ("I7", [enqueue(), claim(), entry("flush", "RUNNING", "-", r="1-a")]),
        ("I1", [enqueue(), entry("flush", "WAIT", "-", q={"n": -1})]),
    ],
)
def test_a_wrong_transition_is_noticed(rule, audit):
    assert rule in rules(audit)


def test_a_task_that_goes_with_its_queue_is_no_loss():
    asked = {"ev": "flush.invoke", "queue": "default", "wall": 3}
    assert rules([enqueue(), entry("flush", "WAIT", "-", q={"n": -1})], [asked]) == set()


def test_a_stop_that_is_followed_by_a_start_is_noticed():
    stop = entry("stop", "WAIT", "STOPPED", a={"unqueue": "default"}, q={"s": 1})
    again = claim(before="STOPPED")
    assert "I12" in rules([enqueue(), stop, again])


def test_a_stop_of_a_running_task_that_is_started_elsewhere_is_noticed():
    stop = entry("stop", "RUNNING", "RUNNING", r="1-a", R="1-a", a={"control": "stop"})
    back = reap(k={"control": "stop"})
    assert "I12" in rules([enqueue(), claim(), stop, back, claim("2-b", 2)])


def test_an_acknowledged_task_that_never_was_is_lost():
    assert rules([]) == {"I1"}


def keep(**details):
    """A Cleanup keeps the result; ``x`` is when Redis forgets it."""
    fields = {"R": "1-a", "r": "1-a", "a": {"kept": "1"}, "x": 1000, "keep_results": "1000"}
    return acknowledge(**{**fields, "t": "SUCCESS", **details})


def test_a_result_that_redis_forgets_in_its_time_is_no_loss():
    kept = [enqueue(), claim(), finish(R="1-a"), keep()]
    assert rules(kept, drained=True, dump={"task-u": {}}, hand={"u"}) == set()
    assert rules([*kept, enqueue(a={"eid": "e2"}, b={"kept": "1"})]) == set()


@pytest.mark.parametrize(
    "last",
    [
        acknowledge(r="1-a", keep_results="1000"),
        keep(keep_results="0"),
        keep(x=None),
        entry("restart", "SUCCESS", "WAIT", r="1-a", R="1-a", b={"kept": "1"}, q={"n": 1}, x=500),
    ],
    ids=["dropped early", "not to be kept", "kept for ever", "forgotten while it waits"],
)
def test_a_result_that_is_kept_otherwise_is_noticed(last):
    before = [enqueue(), claim(), finish(R="1-a")] + [keep()] * (last["s"] == "restart")
    last = {name: value for name, value in last.items() if value is not None}
    assert rules([*before, last]) & {"I9", "I14"}


def other(at):
    """What the audit tells of another task at some time."""
    return {**enqueue(), "i": "u", "at": at}


#: The task ``t`` was acknowledged at 2, having been sent at 1.5.
TOLD = [{"ev": "enq.invoke", "ids": ["t", "u"], "wall": 1}]
TOLD += [{"ev": "enq.ok", "ids": ["t"], "wall": 2.0, "sent": 1.5}]


@pytest.mark.parametrize(
    ("rollback", "survived", "excused"),
    [
        (Rollback("failover", 2.5, 2.6, -9.0), 1.0, True),
        # The old master acknowledged it, unaware that it had been replaced.
        (Rollback("failover", 1.2, 3.0, -9.0), 1.0, True),
        # What was written after it has survived, so this was not lost with it.
        (Rollback("failover", 2.5, 2.6, -9.0), 2.3, False),
        # The new master acknowledged it, and nothing happened to that one.
        (Rollback("failover", 1.2, 1.3, -9.0), 1.0, False),
        (Rollback("kill -9", 2.5, 2.7, 0.0), 1.9, True),
        (Rollback("kill -9", 5.0, 5.2, 2.5), 1.0, False),
    ],
)
def test_only_what_the_server_lost_with_everything_after_it_is_excused(rollback, survived, excused):
    evidence = Evidence(audit=[other(survived)], history=TOLD, rollbacks=[rollback])
    verdict = check(evidence)
    assert set(verdict.by_rule()) == (set() if excused else {"I1"})
    assert verdict.numbers["excused"] == int(excused)
    assert verdict.numbers["lost"] == int(not excused)


def test_nothing_is_excused_where_no_server_lost_anything():
    kill = {"ev": "fault", "name": "Redis kill -9 and restart", "area": "server", "wall": 2.1}
    said = {"ev": "finish", "token": "1-a", "id": "t", "state": "SUCCESS", "code": 1, "wall": 2}
    stop = {"ev": "stop.ok", "id": "t", "code": 1, "wall": 2}
    evidence = Evidence(audit=[], history=[*TOLD, said, stop, kill])
    verdict = check(evidence)
    assert set(verdict.by_rule()) == {"I1", "I12", "I13"}
    assert verdict.numbers["excused"] == 0


def test_a_finish_or_a_stop_that_was_rolled_back_is_told_apart_from_one_that_was_lost():
    said = {"ev": "finish", "token": "1-a", "id": "t", "state": "SUCCESS", "code": 1, "wall": 2}
    stop = {"ev": "stop.ok", "id": "t", "code": 1, "wall": 2}
    rollbacks = [Rollback("failover", 2.5, 2.5, 0.0)]
    early = [{**one, "at": 1.0} for one in (enqueue(), claim())]
    assert rules(early, [said, stop], rollbacks=rollbacks) == set()
    late = [{**enqueue(), "at": 1.0}, {**claim(), "at": 2.2}]
    assert rules(late, [said, stop], rollbacks=rollbacks) == {"I12", "I13"}


def test_a_forked_child_that_acts_is_noticed():
    forked = {"ev": "forked", "id": "f", "child": 7, "wall": 1}
    acted = {"ev": "handler", "id": "t", "run": "1-a", "says": 7, "wall": 2}
    assert "I6" in rules(GOOD, [forked, acted])
    assert "I6" not in rules(GOOD, [forked, {**acted, "says": 8}])


def test_a_task_that_swallows_its_end_in_the_child_acts_for_itself():
    forked = {"ev": "forked", "id": "f", "child": 7, "wall": 1}
    deaf = {"ev": "swallowed", "id": "t", "says": 7, "wall": 2}
    assert "I6" not in rules(GOOD, [forked, deaf, {**deaf, "ev": "tick", "wall": 3}])


def test_somebody_is_able_while_a_worker_lives_and_nothing_hinders_it():
    worker = {"ev": "worker", "pid": 1, "slot": 0, "says": 1, "wall": 10.0}
    last = {"ev": "start", "id": "t", "pid": 1, "says": 1, "wall": 40.0}

    def able(*others):
        return Ability(Evidence(audit=[], history=[worker, *others, last])).seconds

    assert able() == 30.0 - WITNESS_SECONDS
    frozen = {"ev": "freeze", "pid": 1, "seconds": 2.0, "wall": 20.0}
    assert able(frozen) == able() - 2.0 - WITNESS_SECONDS
    away = {"ev": "outage", "what": "kill", "seconds": 1.0, "wall": 21.0}
    assert able(frozen, away) == able(frozen)
    cut_off = {"ev": "zone", "slot": 0, "seconds": 2.0, "wall": 20.0}
    assert able(cut_off) == able(frozen)
    assert able({**cut_off, "slot": 3}) == able()
    hog = {"ev": "start", "id": "hog-1", "pid": 1, "says": 1, "wall": 20.0}
    assert able(hog) == able() - HOG_SECONDS - WITNESS_SECONDS
    second = {"ev": "worker", "pid": 2, "slot": 1, "says": 2, "wall": 10.0}
    assert able(frozen, second, {**last, "says": 2}) == able()


def test_a_task_that_is_not_taken_back_soon_after_everything_was_healed_is_noticed():
    healed = {"ev": "healed", "wall": 100.0}
    late = reap(age=30.0, **{"at": 120.0})
    worker = {"ev": "worker", "pid": 1, "slot": 0, "says": 1, "wall": 90.0}
    alive = {"ev": "tick", "id": "x", "says": 1, "wall": 130.0}
    evidence = Evidence(audit=[late], history=[worker, healed, alive])
    assert [one.rule for one in check_last_reaps(evidence, 2.0)] == ["L1"]
    nobody = Evidence(audit=[late], history=[{**worker, "wall": 115.0}, healed, alive])
    assert not list(check_last_reaps(nobody, 2.0))
    early = Evidence(audit=[{**late, "at": 107.0}], history=evidence.history)
    assert not list(check_last_reaps(early, 2.0))
    fresh = Evidence(audit=[{**late, "age": 4.0}], history=evidence.history)
    assert not list(check_last_reaps(fresh, 2.0))


def test_a_task_that_never_ends_is_lost():
    assert rules([enqueue(), claim()], drained=True) == {"I1"}


def test_a_task_nobody_asked_for_is_noticed():
    evidence = Evidence(audit=[enqueue()])
    assert set(check(evidence).by_rule()) == {"I2"}
    assert not check(Evidence(audit=[enqueue()], hand={"t"})).violations


def test_a_task_that_is_deleted_before_its_end_is_noticed():
    gone = entry("forget_failed", "WAIT", "-", q={"n": -1}, keep_failed="0")
    assert "I1" in rules([enqueue(), gone])


def test_a_success_without_an_effect_is_noticed():
    effect = {"ev": "effect", "id": "t", "token": "1-a", "wall": 99.0}
    other = {**effect, "token": "1-z"}
    late = {**effect, "wall": 101.0}
    assert rules(GOOD, [effect]) == set()
    assert rules(GOOD, [other]) == {"I15"}
    assert rules(GOOD, [late]) == {"I15"}


def test_an_outcome_of_another_run_is_noticed():
    wrong = finish(a={"done_run": "1-a", "output": '{"token":"1-z"}', "end_entry": "1"})
    assert "I5" in rules([enqueue(), claim(), wrong])


def test_an_acknowledged_finish_that_is_not_there_is_noticed():
    said = {"ev": "finish", "token": "1-a", "id": "t", "state": "SUCCESS", "code": 1, "wall": 3}
    assert rules([enqueue(), claim()], [said]) == {"I13"}
    assert rules(GOOD, [said]) == set()
    assert rules(GOOD, [{**said, "code": -2}]) == {"I13"}


def test_a_finish_that_is_refused_because_the_next_attempt_has_begun_is_no_violation():
    said = {"ev": "finish", "token": "1-a", "id": "t", "state": "RETRY", "code": -1, "wall": 3}
    retry = finish(t="RETRY", a={"done_run": "1-a", "retries": "1"}, q={"d": 1, "s": -1, "l": -1})
    again = claim("2-b", 2, before="RETRY", q={"d": -1, "s": 1, "l": 1})
    assert rules([enqueue(), claim(), retry, again], [said]) == set()
    assert rules([enqueue(), claim(), retry], [said]) == {"I13"}


def test_a_task_that_is_cleaned_up_unhandled_is_noticed():
    handled = {"ev": "handler", "id": "t", "run": "1-a", "wall": 99.0}
    assert rules(GOOD, [handled]) == set()
    assert rules(GOOD, [{**handled, "run": "1-b"}]) == {"I14"}
    assert rules(GOOD, [{**handled, "wall": 101.0}]) == {"I14"}


RUNNING = {"state": "RUNNING", "worker": "w1", "task": "x"}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("I9", {"tasks:lease": {}}),
        ("I9", {"tasks": set()}),
        ("I9", {"task-t": None, "tasks:lease": {"t": "1"}}),
        ("I7", {"task-t": {"state": "WAIT"}, "new-task": ["t"]}),
        ("I10", {"end-task": ["t", "t"]}),
        ("I16", {"something": "else"}),
        ("I16", {"new-task": {"t"}}),
        ("L6", {"new-task:claim:gone": ["t"]}),
        ("L6", {"new-task:claims": {"gone": "[]"}}),
        ("L6", {"tasks:workers": {"w1": "1", "gone": "1"}}),
    ],
)
def test_a_wrong_key_at_the_end_is_noticed(rule, change):
    good = {"task-t": RUNNING, "tasks": {"t"}, "tasks:lease": {"t": "1"}}
    audit = [enqueue(), claim()]
    assert rules(audit, dump=good) == set()
    dump = {key: value for key, value in {**good, **change}.items() if value is not None}
    found = rules(audit, dump=dump, drained=True, workers=["w1"])
    assert rule in found - {"I1"}


def test_a_run_that_exercised_nothing_fails():
    nothing = Counter()
    assert list(check_coverage(60, ["a", "b", "c", "d"], nothing, nothing, nothing))
    assert not list(check_coverage(10, ["a"], nothing, nothing, nothing))


def occurrence(second, **details):
    name = f"chaos/timed@2026-11-21T06:00:{second:06.3f}Z"
    fields = {"q": {"n": 1}, "i": name}
    return entry("schedule_tick", "-", "WAIT", **{**fields, **details})


def test_each_due_time_starts_one_task():
    times = [0, 0.5, 1.0]
    assert schedule_rules([occurrence(one) for one in times]) == set()
    assert schedule_rules([occurrence(0), occurrence(1.0)]) == {"S1"}
    twice = [*(occurrence(one) for one in times), occurrence(0.5)]
    assert schedule_rules(twice) == {"S1"}
    assert schedule_rules(twice, [Rollback("failover", 100.0, 101.0, 99.0)]) == set()


def schedule_rules(audit, rollbacks=()):
    evidence = Evidence(audit=audit, rollbacks=list(rollbacks))
    found = check_schedules(evidence, final_tracks(evidence), Counter())
    return {violation.rule for violation in found}


def at_work(token, since, until, limit=1):
    """A run under a limit that tells every 20 ms that it is at work."""
    times = [since + 0.02 * number for number in range(round((until - since) / 0.02) + 1)]
    event = {"ev": "hold", "id": "t", "token": token, "pool": "limit:x", "limit": limit}
    return [{**event, "wall": time} for time in times]


@pytest.mark.parametrize(
    ("events", "count"),
    [
        (at_work("1-a", 1, 2) + at_work("1-b", 2.01, 3), 0),
        (at_work("1-a", 1, 2) + at_work("1-b", 1.5, 3), 1),
        (at_work("1-a", 1, 2, limit=2) + at_work("1-b", 1.5, 3, limit=2), 0),
        # One that stood still, and says once more that it is at work when it goes on.
        (at_work("1-a", 1, 2) + at_work("1-a", 9, 9) + at_work("1-b", 7, 10), 0),
        (at_work("1-a", 1, 2) + at_work("1-a", 9, 9.5) + at_work("1-b", 7, 10), 1),
    ],
)
def test_a_limit_that_was_exceeded_is_found(events, count):
    numbers = Counter()
    found = list(check_limits(Evidence([], events), numbers))
    assert [one.rule for one in found] == ["I17"] * count
    assert numbers["limited_runs"] > 0


def test_a_limit_that_was_exceeded_because_permits_were_rolled_back_is_excused():
    events = at_work("1-a", 1, 2) + at_work("1-b", 1.5, 3)
    numbers = Counter()
    rolled_back = Evidence([], events, rollbacks=[Rollback("failover", 1.2, 1.4, 1.0)])
    assert list(check_limits(rolled_back, numbers)) == []
    assert numbers["excess_excused"] == 1


def test_a_call_before_the_time_needs_a_limit_that_held_the_task_back():
    held = {"attempts": "0", "held": "150.000"}
    back = entry("requeue", "RUNNING", "WAIT", r="1-a", c="1-a", k={"attempts": "1"}, a=held,
                 held=1, q={"d": 1, "s": -1, "l": -1})  # fmt: skip
    call = entry("promote", "WAIT", "WAIT", q={"d": -1, "n": 1}, d_score="150", called=1,
                 k={"attempts": "0", "held": "150.000"})  # fmt: skip
    assert rules([enqueue(), claim(), back, call, claim("1-b")]) == set()
    uncalled = {**call, "called": None}
    assert "I7" in rules([enqueue(), claim(), back, uncalled, claim("1-b")])
    counted = {**back, "a": {"held": "150.000"}}
    assert "I8" in rules([enqueue(), claim(), counted])
