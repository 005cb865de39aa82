"""Rules: what clients and people ask for."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from pytask.records import NewTask, Outcome
from pytask.states import Code, State

from .base import Base, fates, picks
from .faults import FINE, Fate
from .invariants import entries_of
from .site import QUEUES

_ANSWERED_AGAIN = {Code.OK: Code.ALREADY}
requests = st.tuples(
    picks, st.sampled_from(QUEUES), st.sampled_from(("", "", "", "delay", "expires", "keep"))
)


def again(code: Code) -> Code:
    """What the repeat of a request is told that was carried out before."""
    return _ANSWERED_AGAIN.get(code, code)


class People(Base):
    _latest_claims: dict[tuple[int, str], str]

    @rule(wanted=st.lists(requests, min_size=1, max_size=4), fate=fates)
    def enqueue(self, wanted: list[tuple[int, str, str]], fate: Fate) -> None:
        """Enqueue one task, or a batch that may name an ID twice."""
        self.begin("enqueue")
        at = self.partition(wanted[0][0])
        ids = self.site.task_ids[at]
        tasks = [
            NewTask(
                ids[pick // 2 % len(ids)],
                "lab/task",
                b'{"n":%d}' % pick,
                queue,
                option != "keep",
                1000.0 if option == "delay" else 0.0,
                1000.0 if option == "expires" else 0.0,
            )
            for pick, queue, option in wanted
        ]
        model, link = self.models[at], self.site.link
        times, codes = self.act(fate, lambda store: store.enqueue(tasks))
        assert link.last_call is not None
        request = link.last_call.text(1)
        if times:
            expected = model.enqueue(tasks, request)
            for task, code in zip(tasks, expected, strict=True):
                if code is Code.OK:
                    self.released(task.task_id)
            expected = [again(code) for code in expected] if times > 1 else expected
        if codes is None:
            self.may_arrive_later(lambda: self._enqueue_late(at, tasks, request))
        else:
            assert codes == expected, f"enqueue answered {codes}, expected {expected}"

    def _enqueue_late(self, at: int, tasks: list[NewTask], request: str) -> list[Code]:
        codes = self.models[at].enqueue(tasks, request)
        for task, code in zip(tasks, codes, strict=True):
            if code is Code.OK:
                self.released(task.task_id)
        return codes

    @rule(pick=picks, running=st.booleans(), fate=fates)
    def stop(self, pick: int, running: bool, fate: Fate) -> None:
        self.begin("stop")
        at, task_id = self.place(pick)
        if running and self.some_have(lambda m: m.leases):
            at = self.partition_with(pick, lambda m: m.leases)
            task_id = sorted(self.models[at].leases)[pick % len(self.models[at].leases)]
        model = self.models[at]
        entries = entries_of(model, task_id)
        is_sure = model.state(task_id) != "RUNNING" and task_id not in self.meddled
        code = self.once(
            fate, lambda store: store.stop(task_id), lambda: model.stop(task_id), again
        )
        if code is Code.OK and is_sure and entries <= 1:
            self.stopped.add(task_id)
        if code is None:
            self.may_arrive_later(lambda: model.stop(task_id))

    @rule(pick=picks, fate=fates)
    def reload(self, pick: int, fate: Fate) -> None:
        self.begin("reload")
        at, task_id = self.place(pick)
        self.once(
            fate,
            lambda store: store.reload(task_id),
            lambda: self.models[at].reload(task_id),
        )

    @rule(
        pick=picks,
        fate=fates,
        states=st.sampled_from(((), (State.STOPPED,), (State.ERROR, State.EXCEPTION))),
    )
    def restart(self, pick: int, fate: Fate, states: tuple[State, ...]) -> None:
        self.begin("restart")
        at, task_id = self.place(pick)
        model, link = self.models[at], self.site.link
        names = [state.value for state in states]

        def in_model() -> Code:
            assert link.last_call is not None
            code = model.restart(task_id, names, link.last_call.text(1))
            if code is Code.OK:
                self.released(task_id)
            return code

        code = self.once(fate, lambda store: store.restart(task_id, states), in_model, again)
        if code is None:
            call = link.last_call
            assert call is not None
            request = call.text(1)

            def later() -> Code:
                found = model.restart(task_id, names, request)
                if found is Code.OK:
                    self.released(task_id)
                return found

            self.may_arrive_later(later)

    @rule(pick=picks, force=st.booleans(), fate=fates)
    def remove(self, pick: int, force: bool, fate: Fate) -> None:
        self.begin("remove")
        at, task_id = self.place(pick)
        model = self.models[at]
        # A repeat finds no record, and drops what may stand in the default queue all the same.
        code = self.repeatedly(
            fate,
            # What a repeat does not find, an attempt before it may have removed.
            lambda store: _known(store.remove(task_id, force)),
            lambda: model.remove(task_id, force),
        )
        if code is not Code.WRONG_STATE:
            self.released(task_id)
            if entries_of(model, task_id) or any(task_id in m for m in model.missing.values()):
                # In the list of a worker that has popped it already: dropped at its claim, and one
                # entry too many if the ID is used again before.
                self.meddled.add(task_id)

    @rule(pick=picks, queue=st.sampled_from(QUEUES), goes_on=st.booleans(), fate=fates)
    def pause_or_resume(self, pick: int, queue: str, goes_on: bool, fate: Fate) -> None:
        at = self.partition(pick)
        partition, model = self.site.partitions[at], self.models[at]
        if goes_on and model.paused:
            queue = sorted(model.paused)[0]
        self.begin("resume" if goes_on else "pause")
        self.repeatedly(
            fate,
            lambda store: (store.resume if goes_on else store.pause)(queue, partition),
            lambda: (model.resume if goes_on else model.pause)(queue),
        )

    @rule(pick=picks, queue=st.sampled_from(QUEUES), fate=fates)
    def flush(self, pick: int, queue: str, fate: Fate) -> None:
        self.begin("flush")
        at = self.partition_with(pick, lambda m: m.queue(queue) or m.set_aside(queue))
        partition, model = self.site.partitions[at], self.models[at]
        gone: list[str] = []

        def in_model() -> int:
            now = model.flush(queue)
            gone.extend(now)
            return len(now)

        self.repeatedly(fate, lambda store: store.flush(queue, partition), in_model)
        for task_id in gone:
            self.released(task_id)
            if entries_of(model, task_id) or any(task_id in m for m in model.missing.values()):
                # As after a remove: in the list of a worker that has popped it, or pushed by hand.
                self.meddled.add(task_id)

    @rule(
        pick=picks,
        state=st.sampled_from((State.SUCCESS, State.ERROR)),
        then=st.sampled_from(("", "take", "take and keep")),
    )
    def run_to_its_end(self, pick: int, state: State, then: str) -> None:
        """Start a task and end it, in one step that leads histories to where ends matter."""
        at, task_id = self.place(pick)
        model = self.models[at]
        task = NewTask(task_id, "lab/task", b"{}")
        self.begin("enqueue")
        _, codes = self.act(FINE, lambda store: store.enqueue([task]))
        assert self.site.link.last_call is not None
        assert codes == model.enqueue([task], self.site.link.last_call.text(1))
        if codes == [Code.OK]:
            self.released(task_id)
        self.redis_holds_what_the_model_says()
        self.begin("claim")
        partition = self.site.partitions[at]
        request = f"{0xE0D00000 + len(self.runs):016x}"
        self._latest_claims[at, "w1", ""] = request
        _, reply = self.act(
            FINE,
            lambda store: store.claim(
                partition, worker="w1", queues=QUEUES, limit=9, request=request
            ),
        )
        claimed, _, _ = model.claim("w1", QUEUES, 9, request, self.grace_over(model))
        assert reply is not None
        assert [run[:2] for run in reply.claimed] == [run[:2] for run in claimed]
        self.runs += [(at, run, token) for run, token, _ in claimed]
        self.redis_holds_what_the_model_says()
        self.begin("finish")
        outcomes = [Outcome(one, token, state, b"1") for one, token, _ in claimed]
        _, codes = self.act(FINE, lambda store: store.finish(partition, outcomes))
        assert codes == model.finish(outcomes)
        if then:
            self.redis_holds_what_the_model_says()
            self.take(at, "w1", 9, FINE)
        if then == "take and keep":
            self.redis_holds_what_the_model_says()
            self.acknowledge_last(FINE, True)

    @precondition(lambda self: self.pending)
    @rule(pick=picks)
    def a_lost_request_arrives_after_all(self, pick: int) -> None:
        """Carry out a call whose caller gave up; perhaps it was carried out before."""
        self.begin("late")
        self.site.link.expect(FINE)
        reply, expected = self.pending[-1 - pick % len(self.pending)]()
        assert reply == expected, f"a late call answered {reply}, expected {expected}"


def _known(code: Code) -> Code:
    return Code.MISSING if code is Code.ALREADY else code
