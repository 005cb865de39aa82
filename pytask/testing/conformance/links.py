"""What the store and the worker rely on in a back-end and its links."""

from __future__ import annotations

import time
from hashlib import sha1
from typing import Any

import pytest

from pytask.exceptions import RedisError, RedisRejected, WrongKeyType
from pytask.states import Code
from pytask.testing.conformance.site import Site, Sited


class Links(Sited):
    """Commands, scripts, errors; a back-end with a store of its own has only some of it."""

    @pytest.fixture
    def link(self, site: Site) -> Any:
        """A link of this test."""
        if site.has_own_store:
            pytest.skip("this back-end runs no commands")
        return site.backend.link()

    def test_a_back_end_says_where_it_is(self, site: Site) -> None:
        assert isinstance(site.backend.description, str) and site.backend.description
        assert isinstance(site.backend.is_cluster, bool)
        assert isinstance(site.backend.is_temporary, bool)

    def test_it_can_be_used_again_after_it_was_closed(self, site: Site) -> None:
        if site.backend.is_temporary:
            pytest.skip("what it keeps goes when it is closed")
        task_id = site.waiting()
        site.helpers.close()
        assert site.helpers.get_task(task_id, "task") == "task"

    def test_a_link_works_again_after_a_reset(self, site: Site, link: Any) -> None:
        key = f"{site.prefix}key"
        link.execute("SET", key, b"\x00\xff")
        link.reset()
        assert link.execute("GET", key) == b"\x00\xff"
        link.close()

    def test_replies_are_bytes_numbers_lists_and_none(self, site: Site, link: Any) -> None:
        key = f"{site.prefix}hash"
        assert link.execute("HSET", key, "a", 1, b"b", "ü") == 2
        assert link.execute("HMGET", key, "a", "b", "c") == [b"1", "ü".encode(), None]
        assert sorted(link.scan_iter(f"{site.prefix}ha*")) == [key.encode()]

    def test_a_script_runs_although_the_server_has_never_seen_it(
        self, site: Site, link: Any
    ) -> None:
        source = f"return {{KEYS[1], ARGV[1], 1, '{site.prefix}'}}"
        sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
        key = f"{site.prefix}key"
        for _ in range(2):
            reply = link.evalsha(sha, source, [key], [b"\xff"])
            assert reply == [key.encode(), b"\xff", 1, site.prefix.encode()]

    def test_a_script_that_fails_half_way_is_an_error(self, site: Site, link: Any) -> None:
        source = "redis.call('SET', KEYS[1], 'x') return redis.call('LPUSH', KEYS[1], 'y')"
        with pytest.raises(WrongKeyType):
            link.evalsha("0" * 40, source, [f"{site.prefix}key"], [])

    def test_what_the_server_does_not_know_is_rejected_for_good(
        self, site: Site, link: Any
    ) -> None:
        with pytest.raises(RedisRejected):
            link.execute("NOSUCHCOMMAND", f"{site.prefix}key")
        assert link.execute("GET", f"{site.prefix}key") is None

    def test_a_key_of_another_type_is_refused_and_nothing_written(
        self, site: Site, link: Any
    ) -> None:
        task_id = site.id()
        names = site.store.keys.of(task_id)
        link.execute("SET", names.record(task_id), "foreign")
        assert site.enqueue(task_id) == [Code.BAD_TYPE]
        link.execute("SET", names.new_queue(), "foreign")
        with pytest.raises(WrongKeyType):
            site.enqueue(site.id())
        assert link.execute("GET", names.record(task_id)) == b"foreign"
        assert list(site.store.iterate_active()) == []

    def test_no_exception_is_foreign(self, site: Site, link: Any) -> None:
        for command in (("LPUSH", f"{site.prefix}a"), ("EVAL", "syntax error", 0)):
            with pytest.raises(RedisError):
                link.execute(*command)

    def test_the_time_is_that_of_the_server_and_goes_on(self, site: Site) -> None:
        first = site.store.server_time()
        time.sleep(0.02)
        assert 0 < site.store.server_time() - first < 600
