"""Rules: what workers do, the living ones and those that do not know yet that they are dead."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from pytask.exceptions import LeaseLost, RedisUnavailable
from pytask.records import ClaimReply, Outcome
from pytask.states import Code, State
from pytask.store import Store

from .base import Base, fates, picks
from .faults import FINE, Fate
from .people import again
from .site import QUEUES, WORKERS
from .upkeep import Model

workers = st.sampled_from(WORKERS)
orders = st.sampled_from((QUEUES, QUEUES[::-1], QUEUES[:1]))
batches = st.lists(picks, min_size=1, max_size=3)
_UNFINISHED = (State.STOPPED, State.RETRY, State.REVOKED, State.EXCEPTION)
_outputs = st.sampled_from((b"1", b"null", b'"text"', b"\xc1\xc4\x01\xff"))


#: ID, token and attempts of each run; ID and reason of what was dropped; how many were set aside.
ClaimAnswer = tuple[list[tuple[str, str, int]], list[tuple[str, str]], int]


def _answer(reply: ClaimReply) -> ClaimAnswer:
    claimed = [(run.task_id, run.token, run.attempts) for run in reply.claimed]
    return claimed, [(one.task_id, one.reason) for one in reply.rejected], reply.set_aside


class Owners(Base):
    def __init__(self) -> None:
        super().__init__()
        self._requests = count(0xC1A10001)
        self._latest_claims: dict[tuple[int, str, str], str] = {}

    @rule(
        pick=picks,
        worker=workers,
        queues=orders,
        limit=st.integers(0, 5),
        waits_at=st.sampled_from(("", "", QUEUES[0])),
        fate=fates,
        echo=st.booleans(),
    )
    def claim(
        self,
        pick: int,
        worker: str,
        queues: tuple[str, ...],
        limit: int,
        waits_at: str,
        fate: Fate,
        echo: bool,
    ) -> None:
        """Claim; an echo of the request may arrive once a run has been given back."""
        self.begin("claim")
        at = self.partition(pick)
        request = f"{next(self._requests):016x}"
        self._latest_claims[at, worker, waits_at] = request
        call, in_model = self._claim_calls(at, worker, queues, limit, request, waits_at)
        # A repeat is told of the same runs; what was dropped was dropped the first time.
        times, reply = self.act(fate, call)
        expected: ClaimAnswer | None = None
        for number in range(times):
            before, expected = expected, in_model()
            if number and before is not None and before[0]:
                assert expected[0] == before[0]
        if reply is not None:
            assert reply == expected, f"claim answered {reply}, expected {expected}"
        if reply is None or times > 1:
            # One claim of a claimer is under way: after the next one it is over. That of a waiter
            # may come at any time.
            self.pending.append(
                lambda: (
                    (call(self.site.store), in_model())
                    if waits_at or self._latest_claims[at, worker, ""] == request
                    else (None, None)
                )
            )
        if echo and expected is not None and expected[0]:
            self.redis_holds_what_the_model_says()
            self._give_back_and_echo(at, expected[0][0][:2], call, in_model)

    def _give_back_and_echo(
        self,
        at: int,
        run: tuple[str, str],
        call: Callable[[Store], ClaimAnswer],
        in_model: Callable[[], ClaimAnswer],
    ) -> None:
        self.begin("requeue")
        _, codes = self.act(FINE, lambda store: store.requeue(self.site.partitions[at], [run]))
        assert codes == self.models[at].requeue([run])
        self.redis_holds_what_the_model_says()
        self.begin("claim")
        _, reply = self.act(FINE, call)
        expected = in_model()
        assert reply == expected, f"an echo of a claim answered {reply}, expected {expected}"

    def _claim_calls(
        self,
        at: int,
        worker: str,
        queues: tuple[str, ...],
        limit: int,
        request: str,
        waits_at: str,
    ) -> tuple[Callable[[Store], ClaimAnswer], Callable[[], ClaimAnswer]]:
        partition, model = self.site.partitions[at], self.models[at]

        def call(store: Store) -> ClaimAnswer:
            return _answer(
                store.claim(
                    partition,
                    worker=worker,
                    queues=queues,
                    limit=limit,
                    request=request,
                    waits_at=waits_at,
                )
            )

        def in_model() -> ClaimAnswer:
            grace_over = self.grace_over(model)
            reply = model.claim(worker, queues, limit, request, grace_over, waits_at)
            known = {token for _, _, token in self.runs}
            for task_id, token, _ in reply[0]:
                if token not in known:
                    self.runs.append((at, task_id, token))
            return reply

        return call, in_model

    @precondition(lambda self: any(any(model.queues.values()) for model in self.models))
    @rule(worker=workers, fate=fates)
    def pop(self, worker: str, fate: Fate) -> None:
        """Let a blocking pop move an ID, and perhaps never say so."""
        at, queue = next(
            (at, queue)
            for at, model in enumerate(self.models)
            for queue, entries in model.queues.items()
            if entries
        )
        self.begin("pop")
        partition, model, link = self.site.partitions[at], self.models[at], self.site.link
        link.expect(fate)
        try:
            moved = self.site.store.wait_for_task(partition, queue, worker, 1.0)
            assert moved
        except RedisUnavailable:
            assert fate.faults
        if link.executed:
            model.claim_list(queue, worker).insert(0, model.queue(queue).pop())

    @rule(
        pick=picks,
        worker=workers,
        queues=orders,
        forget=st.booleans(),
        keep_ended=st.booleans(),
        fate=fates,
    )
    def give_back(
        self,
        pick: int,
        worker: str,
        queues: tuple[str, ...],
        forget: bool,
        keep_ended: bool,
        fate: Fate,
    ) -> None:
        self.begin("give_back")
        at = self.partition(pick)
        partition, model = self.site.partitions[at], self.models[at]
        self.repeatedly(
            fate,
            lambda store: store.give_back(
                partition, worker=worker, queues=queues, forget=forget, keep_ended=keep_ended
            ),
            lambda: model.give_back(worker, queues, forget, keep_ended),
        )

    @rule(pick=picks, worker=workers, fate=fates)
    def start_local(self, pick: int, worker: str, fate: Fate) -> None:
        self.begin("start_local")
        at, task_id = self.place(pick)
        model = self.models[at]
        token = f"1-local{len(self.runs):04x}"

        def call(store: Store) -> bool:
            try:
                return store.start_local(task_id, "lab/local", b"{}", worker, token).local
            except LeaseLost:
                return False

        if model.records.get(task_id, {}).get("foreign"):
            return
        self.once(fate, call, lambda: model.start_local(task_id, "lab/local", "{}", worker, token))
        if model.records.get(task_id, {}).get("run") == token:
            self.runs.append((at, task_id, token))

    def _batch(self, batch: list[int]) -> tuple[int, list[tuple[str, str]]]:
        """Choose runs of one partition, one for each ID; most of them are over."""
        chosen = [self.run_of(pick) for pick in batch]
        at = chosen[0][0]
        return at, list({task_id: token for n, task_id, token in chosen if n == at}.items())

    @precondition(lambda self: self.runs)
    @rule(batch=batches, fate=fates)
    def heartbeat(self, batch: list[int], fate: Fate) -> None:
        self.begin("heartbeat")
        at, runs = self._batch(batch)
        partition, model = self.site.partitions[at], self.models[at]
        self.repeatedly(
            fate,
            lambda store: [
                (beat.task_id, beat.code, beat.control.partition(":")[0])
                for beat in store.heartbeat(partition, runs)
            ],
            lambda: model.heartbeat(runs),
        )

    @precondition(lambda self: self.runs)
    @rule(
        batch=batches,
        state=st.sampled_from((State.SUCCESS, State.ERROR, *_UNFINISHED)),
        output=_outputs,
        stop_first=st.booleans(),
        fate=fates,
    )
    def finish(
        self, batch: list[int], state: State, output: bytes, stop_first: bool, fate: Fate
    ) -> None:
        at, runs = self._batch(batch)
        if stop_first and self.models[at].state(runs[0][0]) == "RUNNING":
            self.tell_to_stop(at, runs[0][0])
        self.begin("finish")
        partition, model = self.site.partitions[at], self.models[at]
        delay = 1000.0 if state is State.RETRY else 0.0
        outcomes = [Outcome(task_id, token, state, output, delay) for task_id, token in runs]
        self._note_zombies(model, runs)
        codes = self.once(
            fate,
            lambda store: store.finish(partition, outcomes),
            lambda: model.finish(outcomes),
            lambda codes: [again(code) for code in codes],
        )
        if codes is None:
            self.may_arrive_later(lambda: model.finish(outcomes))

    @precondition(lambda self: self.runs)
    @rule(batch=batches, held_back=st.sampled_from((None, None, 1000.0)), fate=fates)
    def requeue(self, batch: list[int], held_back: float | None, fate: Fate) -> None:
        """Give runs back: for another worker, or because a limit holds their tasks back."""
        self.begin("requeue")
        at, runs = self._batch(batch)
        partition, model = self.site.partitions[at], self.models[at]
        self._note_zombies(model, runs)
        codes = self.once(
            fate,
            lambda store: store.requeue(partition, runs, [held_back] * len(runs)),
            lambda: model.requeue(runs, held_back),
            # What was removed has left nothing to know the repeat by.
            lambda codes: [Code.MISSING if c is Code.REMOVED else again(c) for c in codes],
        )
        if codes is None:
            self.may_arrive_later(lambda: model.requeue(runs, held_back))

    def _note_zombies(self, model: Model, runs: list[tuple[str, str]]) -> None:
        current = {(one, record.get("run")) for one, record in model.records.items()}
        self.note("writes of lost runs", len(set(runs) - current))

    @precondition(lambda self: len(self.runs) > 1)
    @rule(pick=picks, verb=st.sampled_from(("finish", "requeue", "heartbeat")))
    def an_old_token_changes_nothing(self, pick: int, verb: str) -> None:
        """Let a lost run do what it still believes it may (I6)."""
        at, task_id, token = self.run_of(pick)
        if self.models[at].records.get(task_id, {}).get("run") == token:
            return
        self.begin("zombie")
        self.note("writes of lost runs")
        partition = self.site.partitions[at]
        key = self.site.names(partition).record(task_id)
        before = self._content(key)
        self.site.link.expect(FINE)
        if verb == "heartbeat":
            [beat] = self.site.store.heartbeat(partition, [(task_id, token)])
            code = beat.code
        elif verb == "requeue":
            [code] = self.site.store.requeue(partition, [(task_id, token)])
        else:
            outcome = Outcome(task_id, token, State.ERROR, b'"too late"')
            [code] = self.site.store.finish(partition, [outcome])
        assert code is not Code.OK, f"a lost run of {task_id} was believed (I6)"
        assert self._content(key) == before, f"a lost run changed {task_id} (I6)"

    def _content(self, key: str) -> object:
        """Return what a key holds. A hash by its fields: in which order a dump has them varies."""
        if self.site.call("TYPE", key) != b"hash":
            return self.site.call("DUMP", key)
        flat = self.site.call("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2], strict=True))
