"""What a PersistCache promises beyond Django's own tests of caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import connections, transaction
from django.utils.safestring import mark_safe

from django_persist import Store, stores
from django_persist.cache import MemoryCache, PersistCache
from django_persist.contract.threads import together
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import EncodeError, StoreUnavailableError
from django_persist.models import Entry
from tests.cache.conftest import Elapse, MakeCache
from tests.conftest import BACKENDS, DATABASES, OpenStore

MEMORY = BACKENDS["memory"]


def identity(key: str, key_prefix: str, version: int) -> str:
    return key


# What is deleted, and what is not.


def test_nothing_is_evicted(memory_cache: PersistCache) -> None:
    for start in range(0, 2000, 500):
        memory_cache.set_many({f"k{i}": i for i in range(start, start + 500)})
    assert len(memory_cache.get_many(f"k{i}" for i in range(2000))) == 2000


def test_clear_deletes_only_its_own_entries(
    server: str, open_store: OpenStore, make_cache: MakeCache
) -> None:
    store = open_store(server)
    cache, other, like = (
        make_cache(),
        make_cache("a", KEY_PREFIX="a"),
        make_cache("ab", KEY_PREFIX="ab"),
    )
    quoted = make_cache("quoted", KEY_PREFIX=":")
    for each in (cache, other, like, quoted):
        each.set("key", each.key_prefix)
        each.set("key", each.key_prefix, version=2)
    store.set_many({"key": "the store's", "cache": 1, "caches": 1, "caches.b:key": 1})
    other.clear()
    assert (other.get("key"), other.get("key", version=2)) == (None, None)
    assert [each.get("key", version=2) for each in (cache, like, quoted)] == ["", "ab", ":"]
    cache.clear()
    quoted.clear()
    assert sorted(store.keys()) == [
        *("cache", "caches", "caches.ab:ab:1:key", "caches.ab:ab:2:key", "caches.b:key", "key")
    ]


def test_aliases_meet_only_with_the_same_location_and_prefix(
    settings: Any, open_store: OpenStore, make_cache: MakeCache
) -> None:
    open_store("memory")
    settings.PERSIST = {"default": MEMORY, "other": {**MEMORY, "PREFIX": "other:"}}
    settings.PERSIST["default"] = {**MEMORY, "PREFIX": "default:"}
    cache = make_cache(TIMEOUT=60)
    others = make_cache("prefix", KEY_PREFIX="a"), make_cache("other", LOCATION="other")
    cache.set("key", 1)
    assert [other.get("key") for other in others] == [None, None]
    assert make_cache("same", VERSION=2).get("key", version=1) == 1
    # Even if their keys are the same.
    other = make_cache("a", KEY_PREFIX="a", KEY_FUNCTION=identity)
    make_cache("b", KEY_PREFIX="b", KEY_FUNCTION=identity).set("key", "b")
    assert other.get("key") is None


# Counters.


def test_incr_keeps_the_timeout(cache: PersistCache, elapse: Elapse) -> None:
    for start in (5, 0, -5):
        cache.set("a", start, timeout=60)
        elapse(30)
        assert (cache.incr("a"), cache.decr("a", 2)) == (start + 1, start - 1)
        elapse(31)
        assert "a" not in cache
        with pytest.raises(ValueError, match="'a' not found"):
            cache.incr("a")
        assert "a" not in cache


@pytest.mark.parametrize("start", [0, 1, -1, 5, -5, 2**63 - 1, -(2**63), 2**70, -(2**70)])
def test_a_sum_is_exact(memory_cache: PersistCache, start: int) -> None:
    for delta in (0, 1, -1, 5, -5, 10, 2**63 - 2, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**80):
        memory_cache.set("a", start)
        assert memory_cache.incr("a", delta) == start + delta, delta
        assert memory_cache.decr("a", delta) == start, delta
        with pytest.raises(ValueError, match="'missing' not found"):
            memory_cache.incr("missing", delta)
        assert "missing" not in memory_cache


@pytest.mark.parametrize("value", [None, "1", 1.0, True, [1]])
def test_incr_of_another_type_is_a_type_error(cache: PersistCache, value: Any) -> None:
    cache.set("a", value)
    with pytest.raises(TypeError, match="The value of 'a' is not an integer"):
        cache.incr("a")
    assert cache.get("a") == value


def test_the_usual_incr_is_one_call_of_the_driver(
    memory_cache: PersistCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_cache.set("a", 1)
    for name in ("get", "replace"):
        monkeypatch.setattr(MemoryDriver, name, lambda *args, **kwargs: pytest.fail("asked"))
    assert (memory_cache.incr("a"), memory_cache.incr("a", 5), memory_cache.decr("a", 6)) == (
        2,
        7,
        1,
    )


# Timeouts.


def test_an_entry_ends_at_its_timeout(cache: PersistCache, elapse: Elapse) -> None:
    cache.set("set", 1, timeout=60)
    cache.set_many({"many": 1}, timeout=60)
    assert cache.add("added", 1, timeout=60)
    cache.set_many({"touched": 1, "never": 1}, timeout=1)
    assert (cache.touch("touched", 60), cache.touch("never", None)) == (True, True)
    keys = ["set", "many", "added", "touched", "never"]
    elapse(58)
    assert list(cache.get_many(keys)) == keys
    elapse(3)
    assert cache.get_many(keys) == {"never": 1}
    assert [cache.touch("set"), cache.delete("set"), "set" in cache] == [False] * 3
    assert cache.add("set", 2)


def test_the_timeout_of_the_alias_counts(
    open_store: OpenStore, make_cache: MakeCache, elapse: Elapse
) -> None:
    open_store("memory", DEFAULT_EXPIRES=10)
    usual, short, never = (
        make_cache("a"),
        make_cache("b", TIMEOUT=60),
        make_cache("c", TIMEOUT=None),
    )
    for each in (usual, short, never):
        each.set(str(each.default_timeout), 1)
    keys = ["300", "60", "None"]
    elapse(59)
    assert list(usual.get_many(keys)) == keys
    elapse(2)
    assert list(usual.get_many(keys)) == ["300", "None"]
    elapse(240)
    assert list(usual.get_many(keys)) == ["None"]


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_a_timeout_that_is_over_leaves_no_entry(memory_cache: PersistCache, timeout: float) -> None:
    cache, store = memory_cache, stores["default"]
    cache.set("a", 1, timeout)
    cache.set_many({"a": 1, "b": 2}, timeout)
    assert cache.add("a", 1, timeout) is True
    assert store.count() == 0
    cache.set_many({"a": 1, "b": 2, "c": 3})
    assert cache.add("a", 1, timeout) is False
    cache.set("a", 2, timeout)
    cache.set_many({"b": 2}, timeout)
    assert (cache.touch("c", timeout), cache.touch("c", timeout)) == (True, False)
    assert store.count() == 0


@pytest.mark.parametrize("timeout", [10**12, 2**63, 2**70, float("inf")])
def test_a_timeout_that_no_store_can_hold_lasts_a_thousand_years(
    memory_cache: PersistCache, timeout: float
) -> None:
    memory_cache.set("a", 1, timeout)
    item = memory_cache.store.get_item(":1:a")
    assert item is not None
    assert item.ttl is not None
    assert item.ttl.days >= 364_999


def test_a_timeout_of_true_is_a_second_as_in_django(
    memory_cache: PersistCache, elapse: Elapse
) -> None:
    memory_cache.set("a", 1, True)
    assert memory_cache.get("a") == 1
    elapse(1)
    assert memory_cache.get("a") is None


def test_a_timeout_that_is_no_number_is_refused(memory_cache: PersistCache) -> None:
    for timeout in (float("nan"), "60", object()):
        with pytest.raises((ValueError, TypeError)):
            memory_cache.set("a", 1, timeout)
    assert "a" not in memory_cache


def test_a_move_to_another_version_keeps_the_timeout(cache: PersistCache, elapse: Elapse) -> None:
    cache.set("a", {"n": [1.5, None]}, timeout=60)
    cache.set("never", 1, timeout=None)
    elapse(30)
    assert (cache.incr_version("a"), cache.incr_version("never", 3)) == (2, 4)
    assert (cache.get("a"), cache.get("never")) == (None, None)
    assert cache.get("a", version=2) == {"n": [1.5, None]}
    elapse(31)
    assert cache.get("a", version=2) is None
    assert cache.decr_version("never", 3, version=4) == 1
    assert cache.get("never") == 1
    with pytest.raises(ValueError, match="'a' not found"):
        cache.incr_version("a", version=2)


def test_a_move_to_the_same_key_keeps_the_entry(
    open_store: OpenStore, make_cache: MakeCache
) -> None:
    open_store("memory")
    cache = make_cache(KEY_FUNCTION=identity)
    cache.set("a", 1)
    assert (cache.incr_version("a"), cache.incr_version("a", 0)) == (2, 1)
    assert cache.get("a") == 1


def test_a_move_leaves_what_was_set_meanwhile(
    memory_cache: PersistCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_cache.set("a", 1)
    set_ = Store.set

    def set_late(store: Store, *args: Any, **kwargs: Any) -> None:
        set_(store, *args, **kwargs)
        monkeypatch.undo()
        memory_cache.set("a", 2)

    monkeypatch.setattr(Store, "set", set_late)
    assert memory_cache.incr_version("a") == 2
    assert (memory_cache.get("a"), memory_cache.get("a", version=2)) == (2, 1)


# Keys.


@pytest.mark.parametrize(
    "key",
    ["", " ", "k" * 246, "k" * 247, "k" * 5000, "\0", "\ud800", "Zoë \U0001f600" * 30, 5, None],
)
def test_any_key_is_held(cache: PersistCache, key: Any) -> None:
    cache.set(key, 1)
    assert cache.add(key, 2) is False
    assert cache.set_many({key: 3, "other": 4}) == []
    assert cache.get_many([key, "other", "missing"]) == {key: 3, "other": 4}
    assert (cache.incr(key), key in cache, cache.touch(key, 60)) == (4, True, True)
    assert cache.get(f"{key}x") is None
    cache.delete_many([key, "missing"])
    assert cache.get(key) is None


def test_no_key_meets_the_entry_of_a_longer_one(
    open_store: OpenStore, make_cache: MakeCache
) -> None:
    open_store("memory")
    cache = make_cache(KEY_FUNCTION=identity)
    cache.set("k" * 300, "secret")
    [stored] = cache.store.keys()
    assert len(stored) < 100
    assert cache.get(stored) is None
    cache.set(stored, "forged")
    assert cache.get("k" * 300) == "secret"
    cache.set("k" * 299 + "K", "another")
    assert cache.get("k" * 300) == "secret"


@pytest.mark.filterwarnings("error")
def test_keys_are_readable_in_the_store(memory_cache: PersistCache, make_cache: MakeCache) -> None:
    memory_cache.set("with spaces", 1)
    make_cache("a", KEY_PREFIX="a", VERSION=3).set("k", 1)
    assert sorted(stores["default"].keys()) == ["caches.a:a:3:k", "caches::1:with spaces"]


# Values.


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**80), 1.5, "", "Zoë", [], [1, [2.0, None]], {}, {"a": {"b": [True]}}],
)
def test_json_reads_back_as_what_it_is(cache: PersistCache, value: Any) -> None:
    cache.set("set", value)
    cache.set_many({"many": value})
    cache.add("added", value)
    for read in (cache.get("set", "none"), cache.get("many", "none"), cache.get("added", "none")):
        assert read == value
        assert type(read) is type(value)
    assert "set" in cache


def test_safe_text_reads_back_as_text(memory_cache: PersistCache) -> None:
    memory_cache.set("a", mark_safe("<b>"))
    assert (memory_cache.get("a"), type(memory_cache.get("a"))) == ("<b>", str)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ((1, 2), r"\$, tuple"),
        ({"a": [0, (1,)]}, r"\$\.a\[1\], tuple"),
        ({"e@example.com": {1}}, r"\$\[\.\.\.\], set"),
        ({1: "a"}, r"\$, dict"),
        (b"bytes", r"\$, bytes"),
        ([datetime(2030, 1, 1, tzinfo=UTC)], r"\$\[0\], datetime"),
        (Decimal("1.5"), r"\$, Decimal"),
        (float("nan"), r"\$"),
        (object(), r"\$"),
        (Entry(key="a", value="secret"), r"\$"),
        (Entry.objects.all(), r"\$"),
    ],
)
def test_what_would_not_read_back_is_refused(
    memory_cache: PersistCache, value: Any, where: str
) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: memory_cache.set("a", value),
        lambda: memory_cache.add("a", value),
        lambda: memory_cache.set_many({"b": 1, "a": value}),
        lambda: memory_cache.get_or_set("a", value),
        lambda: memory_cache.get_or_set("a", lambda: value),
        lambda: memory_cache.set("a", value, timeout=0),
        lambda: MemoryCache("values", {}).set("a", value),
    ]
    for call in calls:
        with pytest.raises(EncodeError, match=f"at {where}") as caught:
            call()
        assert "secret" not in str(caught.value)
    assert stores["default"].count() == 0


def test_a_value_that_is_too_large_is_refused(open_store: OpenStore, make_cache: MakeCache) -> None:
    open_store("memory", MAX_VALUE_BYTES=10)
    with pytest.raises(ValueError, match="takes 12 bytes"):
        make_cache().set("a", "0123456789")


# Transactions, threads and async code.


@pytest.mark.parametrize("server", DATABASES)
def test_a_rollback_undoes_what_was_cached(cache: PersistCache, server: str) -> None:
    using = BACKENDS[server]["OPTIONS"]["using"]
    cache.set("counter", 1)
    with transaction.atomic(using=using):
        assert cache.incr("counter") == 2
        assert cache.add("claimed", 1)
        assert cache.add("claimed", 2) is False
        # The transaction is still usable, and reads what it wrote.
        assert cache.get_many(["counter", "claimed"]) == {"counter": 2, "claimed": 1}
        transaction.set_rollback(True, using=using)
    assert cache.get_many(["counter", "claimed"]) == {"counter": 1}


def test_threads_count_and_claim(cache: PersistCache) -> None:
    cache.set("counter", 0)

    def work(number: int) -> int:
        own = caches["state"]
        assert own is not cache
        try:
            for _ in range(20):
                own.incr("counter")
            return sum(own.add(f"k{i}", number) for i in range(20))
        finally:
            connections.close_all()

    claims = together(work)
    assert sum(claims) == 20
    assert cache.get("counter") == 20 * len(claims)


def test_async_counters_lose_nothing(cache: PersistCache, elapse: Elapse) -> None:
    async def count() -> None:
        await cache.aset("a", 1, timeout=60)
        await asyncio.gather(*(cache.aincr("a") for _ in range(10)))
        assert await cache.aget("a") == 11
        assert await cache.adecr("a") == 10
        assert await cache.aset_many({"b": 1, "c": 2}, timeout=60) == []
        assert await cache.aget_many(["a", "b", "c", "d"]) == {"a": 10, "b": 1, "c": 2}
        assert await cache.aincr_version("b") == 2
        assert await cache.ahas_key("b") is False
        await cache.adelete_many(["c"])
        assert await cache.aget_or_set("c", 5) == 5
        with pytest.raises(ValueError, match="'missing' not found"):
            await cache.aincr("missing")
        await sync_to_async(connections.close_all)()  # of the thread that made the calls

    asyncio.run(count())
    elapse(61)
    assert cache.get("a") is None
    assert cache.get("b", version=2) is None


# Failures.


def test_a_store_that_is_down_raises(
    settings: Any, open_store: OpenStore, make_cache: MakeCache
) -> None:
    down = {**settings.CACHES["valkey"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "down": down}
    settings.PERSIST = {"default": {**BACKENDS["valkey"], "OPTIONS": {"cache": "down"}}}
    cache = make_cache()
    for call in (cache.get, cache.incr, cache.delete, lambda key: cache.add(key, 1)):
        with pytest.raises(StoreUnavailableError):
            call("a")
