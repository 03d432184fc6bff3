"""manage.py persist export, import and copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from django_persist import Item, Store, stores
from tests.conftest import BACKENDS, OpenStore
from tests.management.commands import open_two, persist
from tests.management.exports import contents, entry, fill, lines
from tests.servers.valkey_servers import ValkeyCluster

ODD = {
    "a b": 1,
    '"quoted"\n': {"a": [1.5, None, "é\n\u2028\x00"]},
    "日本": 2**70,
    "counter": 7,
    "none": None,
}


# Round trips.


def test_export_and_import_round_trip(store: Store, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.jsonl")
    store.set_many(ODD)
    store.set_many({"soon": 1, "later": 2}, expires=3600)
    fill(store)
    before = contents(store)
    result = persist("export", file)
    assert result == (0, f"{len(before):,} entries of default exported to {file}.\n", "")
    store.clear()
    result = persist("import", file, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json == {
        "stored": len(before),
        "unchanged": 0,
        "skipped": 0,
        "differing": 0,
        "expired": 0,
        "refused": 0,
        "uncertain": 0,
        "dry_run": False,
        "complete": True,
    }
    assert contents(store) == before
    again = persist("import", file)
    assert again == (0, f"0 entries stored in default; {len(before):,} already there.\n", "")


def test_export_and_import_keep_the_text_of_a_value(store: Store) -> None:
    text = b'{"a" : 1.10, "b": 1E2, "c":"\\u00e9 \xc3\xa9"}'
    store.driver.set(store.keyspace.full("key"), text, None)
    exported = persist("export").out.encode()
    assert b'{"key":"key","expires_at":null,"value":%b}\n' % text in exported
    store.clear()
    assert persist("import", stdin=exported).code == 0
    found = store.driver.get(store.keyspace.full("key"))
    assert (found if isinstance(found, bytes) else str(found).encode()) == text


def test_every_line_of_an_export_is_json_even_if_a_value_has_line_breaks(store: Store) -> None:
    store.driver.set(store.keyspace.full("key"), b'{\r\n"a":\n1}', None)
    exported = persist("export").out
    assert [json.loads(line) for line in exported.split("\n")[:-1]][1:] == [
        {"key": "key", "expires_at": None, "value": {"a": 1}},
        {"end": {"entries": 1, "left_out": 0}},
    ]
    assert persist("import", stdin=exported.encode()).out == (
        "0 entries stored in default; 1 already there.\n"
    )


def test_export_with_a_prefix(store: Store) -> None:
    store.set_many({"cart:1": 1, "cart:2": 2, "code:1": 3})
    exported = [json.loads(line) for line in persist("export", "--prefix=cart:").out.splitlines()]
    assert sorted(line["key"] for line in exported[1:-1]) == ["cart:1", "cart:2"]
    assert exported[-1] == {"end": {"entries": 2, "left_out": 0}}


PAIRS = [(name, "memory") for name in BACKENDS] + [
    *(("memory", name) for name in BACKENDS if name != "memory"),
    *(
        ("postgresql", "valkey"),
        ("valkey", "mariadb"),
        ("mariadb", "mysql"),
        ("mysql", "sqlite"),
        ("sqlite", "sqlite"),
        ("redis", "redis"),
    ),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_copy_keeps_keys_values_and_expiries(
    open_store: OpenStore, source: str, target: str
) -> None:
    open_two(open_store, source, target)
    here, there = stores["default"], stores["other"]
    here.set_many(ODD)
    here.set_many({"soon": 1, "later": 2}, expires=3600)
    fill(here, 1500)
    before = contents(here)
    result = persist("copy", "default", "other")
    assert result == (0, f"{len(before):,} entries stored in other.\n", "")
    assert contents(there) == before == contents(here)
    result = persist("copy", "default", "other", "--dry-run")
    assert result.out == (f"0 entries would be stored in other; {len(before):,} already there.\n")
    assert there.incr("counter") == 8


def test_copy_to_a_cluster_and_back(
    open_store: OpenStore, settings: Any, shared_cluster: ValkeyCluster
) -> None:
    for server in shared_cluster.primaries:
        server.client.flushall()
    factory = {"CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory"}
    cache = {**settings.CACHES["valkey"], "LOCATION": shared_cluster.urls, "OPTIONS": factory}
    settings.CACHES = {**settings.CACHES, "cluster": cache}
    open_store("memory")
    cluster = {**BACKENDS["valkey"], "OPTIONS": {"cache": "cluster"}}
    settings.PERSIST = {**settings.PERSIST, "cluster": cluster}
    here, there = stores["default"], stores["cluster"]
    fill(here)
    here.set_many({"soon": 1, "later": 2}, expires=3600)
    before = contents(here)
    assert persist("copy", "default", "cluster").code == 0
    assert contents(there) == before
    there.set("key:7", "another")
    result = persist("copy", "default", "cluster", "--json")
    assert result.code == 1
    assert (result.json["unchanged"], result.json["differing"]) == (len(before) - 1, 1)
    assert persist("copy", "default", "cluster", "--overwrite").code == 0
    here.clear()
    assert persist("copy", "cluster", "default").code == 0
    assert contents(here) == before
    there.driver.close()


def test_copy_with_a_prefix(open_store: OpenStore) -> None:
    open_two(open_store, "sqlite", "memory")
    stores["default"].set_many({"cart:1": 1, "code:1": 3})
    assert persist("copy", "default", "other", "--prefix=cart:").code == 0
    assert list(stores["other"].keys()) == ["cart:1"]


@pytest.mark.parametrize("server", ["memory"])
def test_copy_refuses_to_copy_a_store_into_itself(store: Store) -> None:
    result = persist("copy", "default", "default")
    assert (result.code, result.err) == (2, "FROM and TO are the same store.\n")
    assert persist("copy", "default", "nowhere").code == 2


# Existing entries.


@pytest.fixture
def half(store: Store) -> bytes:
    """An import of three entries: one that the store has, one that differs, and a new one."""
    store.set_many({"same": 1, "other": "mine"})
    return lines(entry("same", 1), entry("other", "theirs"), entry("new", 3))


def test_import_keeps_and_reports_a_different_entry(store: Store, half: bytes) -> None:
    result = persist("import", stdin=half)
    assert result.code == 1
    assert result.out == (
        "1 entry stored in default; 1 already there; "
        "1 left out because their keys have different entries.\n"
    )
    assert result.err == (
        "Line 3, 'other': the store has a different entry, which was kept.\n"
        "1 entry left out: see above.\n"
    )
    assert {k: i.value for k, i in store.items()} == {"same": 1, "other": "mine", "new": 3}


def test_import_overwrite(store: Store, half: bytes) -> None:
    result = persist("import", "--overwrite", stdin=half)
    assert result == (0, "3 entries stored in default.\n", "")
    assert {k: i.value for k, i in store.items()} == {"same": 1, "other": "theirs", "new": 3}


def test_import_skip_existing(store: Store, half: bytes) -> None:
    result = persist("import", "--skip-existing", stdin=half)
    assert result == (
        0,
        "1 entry stored in default; 2 skipped because their keys have entries.\n",
        "",
    )
    assert {k: i.value for k, i in store.items()} == {"same": 1, "other": "mine", "new": 3}


@pytest.mark.parametrize(
    ("args", "code", "counts"),
    [
        ((), 1, {"stored": 1, "unchanged": 1, "differing": 1, "skipped": 0}),
        (("--overwrite",), 0, {"stored": 2, "unchanged": 1, "differing": 0, "skipped": 0}),
        (("--skip-existing",), 0, {"stored": 1, "unchanged": 0, "differing": 0, "skipped": 2}),
    ],
)
def test_dry_run_of_import_counts_and_writes_nothing(
    store: Store, half: bytes, args: tuple[str, ...], code: int, counts: dict[str, int]
) -> None:
    before = contents(store)
    result = persist("import", "--dry-run", "--json", *args, stdin=half)
    assert result.code == code
    assert {name: result.json[name] for name in counts} == counts
    assert result.json["dry_run"] is True
    assert contents(store) == before


def test_import_treats_another_expiry_as_a_different_entry(store: Store) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    store.set("key", 1, expires=60)
    for expires_at in (None, tomorrow):
        assert persist("import", stdin=lines(entry("key", 1, expires_at))).code == 1
    store.set("key", 1, expires=tomorrow)
    assert persist("import", stdin=lines(entry("key", 1, tomorrow))).code == 0
    item = store.get_item("key")
    assert persist("import", "--overwrite", stdin=lines(entry("key", 1))).code == 0
    assert item and item.expires_at
    assert contents(store) == {"key": Item(1, None)}


def test_import_overwrites_an_expired_entry(store: Store, elapse: Callable[..., None]) -> None:
    store.set("key", "old", expires=0.05)
    elapse(store, 0.1)
    assert persist("import", stdin=lines(entry("key", 1))).out == "1 entry stored in default.\n"
    assert contents(store) == {"key": Item(1, None)}


def test_a_key_that_occurs_twice_in_a_file_conflicts_with_itself(store: Store) -> None:
    twice = lines(entry("key", 1), entry("key", 1), entry("key", 2))
    assert persist("import", "--json", stdin=twice).json["differing"] == 1
    assert store.get("key") == 1
    assert persist("import", "--overwrite", stdin=twice).code == 0
    assert store.get("key") == 2


# Lifetimes.


def test_import_skips_and_counts_entries_that_have_expired(store: Store) -> None:
    exported_at = datetime.now(UTC) - timedelta(seconds=0.4)
    soon = [entry(f"soon:{n}", n, exported_at + timedelta(seconds=0.3)) for n in range(5)]
    data = lines(*soon, entry("later", 1, exported_at + timedelta(days=1)), entry("never", 2))
    result = persist("import", stdin=data)
    assert result == (0, "2 entries stored in default; 5 expired in the meantime.\n", "")
    assert sorted(store.keys()) == ["later", "never"]


@pytest.mark.parametrize("server", ["valkey", "redis"])
@pytest.mark.parametrize("days", [-2, 2])
def test_import_into_redis_uses_the_clock_of_the_server(store: Store, days: int) -> None:
    start = datetime.now(UTC)
    data = lines(
        entry("live", 1, start + timedelta(hours=1)),
        entry("expired", 2, start - timedelta(hours=1)),
    )
    with time_machine.travel(start + timedelta(days=days)):
        result = persist("import", stdin=data)
    assert result == (0, "1 entry stored in default; 1 expired in the meantime.\n", "")
    assert set(store.keys()) == {"live"}


def test_entry_that_expires_during_the_import_does_not_stop_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime.now(UTC)
    data = lines(
        *(entry(f"key:{n}", n) for n in range(20)),
        entry("expired", 1, start - timedelta(hours=1)),
        *(entry(f"more:{n}", n) for n in range(20)),
    )
    # As if the entry had been live when it was checked, and expired when it was stored.
    monkeypatch.setattr(store.driver, "clock", lambda: start - timedelta(days=1))
    for args in ((), ("--overwrite",)):
        result = persist("import", "--json", *args, stdin=data)
        assert result.code == 0
        assert result.json["expired"] == 1
        assert result.json["stored"] + result.json["unchanged"] == 40
        assert result.json["uncertain"] == 0
    assert store.count() == 40
