"""manage.py persist keys, clear and stats."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from django_persist.management.stats import location_url
from tests import aliases
from tests.conftest import BACKENDS, OpenStore, leave_expired
from tests.management.commands import Terminal, call, open_two, persist

ODD = ["a b", '"quoted', "new\nline", "\x1b[31m", "\x9b31m", "é", "\u2028", "日本", "\\"]


def read(line: str) -> str:
    """Return the key that a line of `keys` stands for."""
    return str(json.loads(line)) if line.startswith('"') else line


def test_keys_prints_one_key_per_line(store: Store) -> None:
    store.set_many(dict.fromkeys(ODD, 1))
    leave_expired(store, {"gone": 1})
    out = persist("keys").out
    lines = out.removesuffix("\n").split("\n")
    assert sorted(map(read, lines)) == sorted(ODD)
    assert {"a b", "é", "日本", "\\", '"\\"quoted"', '"new\\nline"'} < set(lines)
    assert not {"\x1b", "\x9b", "\u2028"} & set(out)


def test_keys_json_and_null(store: Store) -> None:
    store.set_many(dict.fromkeys(ODD, 1))
    lines = persist("keys", "--json").out.splitlines()
    assert sorted(map(json.loads, persist("keys", "--json").out.split("\n")[:-1])) == sorted(ODD)
    assert len(lines) >= len(ODD)
    assert sorted(persist("keys", "-0").out.removesuffix("\0").split("\0")) == sorted(ODD)


def test_keys_with_a_prefix(store: Store) -> None:
    store.set_many({"cart:1": 1, "cart:2": 1, "code:1": 1})
    assert sorted(persist("keys", "cart:").out.split()) == ["cart:1", "cart:2"]
    assert persist("keys", "nothing").out == ""


def test_clear_shows_the_count_and_asks(store: Store) -> None:
    store.set_many({"cart:1": 1, "cart:2": 1, "code:1": 1})
    for answer in (b"", b"\n", b"n\n", b"no\n", b"why\n"):
        result = persist("clear", "cart:", stdin=answer)
        assert (result.code, result.out) == (1, "")
        assert "Delete 2 entries of default whose keys begin with 'cart:'? [y/N]" in result.err
        assert "Nothing was deleted." in result.err
    assert store.count() == 3
    result = persist("clear", "cart:", stdin=b"yes\n")
    assert (result.code, result.out) == (0, "2 entries deleted from default.\n")
    assert set(store.keys()) == {"code:1"}
    assert persist("clear", stdin=b"Y\n").out == "1 entry deleted from default.\n"


def test_clear_does_not_ask_if_there_is_nothing_or_with_no_input(store: Store) -> None:
    assert persist("clear") == (0, "0 entries deleted from default.\n", "")
    store.set_many({f"key:{n}": 1 for n in range(2500)})
    result = persist("clear", "--no-input", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json == {"deleted": 2500, "complete": True}


def test_clear_keeps_the_entries_of_another_store_in_the_same_place(
    open_store: OpenStore, server: str
) -> None:
    open_two(open_store, server, server)
    for alias in stores:
        stores[alias].set("key", 1)
    assert persist("clear", "--no-input").code == 0
    assert "key" not in stores["default"]
    assert "key" in stores["other"]


@pytest.mark.parametrize("server", ["sqlite"])
@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (StoreUnavailableError("Gone.", maybe_applied=True), 3, "may have taken effect"),
        (StoreUnavailableError("Gone."), 3, "had no effect"),
        (KeyboardInterrupt(), 130, "Stopped. The last step may have deleted up to 1,000 more"),
    ],
)
def test_interrupted_clear_reports_how_much_it_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    store.set_many({f"key:{n}": 1 for n in range(2500)})
    remove, calls = store.driver.remove_many, []

    def fail_at_the_third(keys: Any) -> int:
        calls.append(keys)
        if len(calls) == 3:
            raise error
        return remove(keys)

    monkeypatch.setattr(store.driver, "remove_many", fail_at_the_third)
    result = persist("clear", "--no-input", "--json")
    assert result.code == code
    assert result.json == {"deleted": 2000, "complete": False}
    assert says in result.err
    assert store.count() == 500


def test_clear_shows_progress_on_a_terminal(store: Store) -> None:
    store.set("key", 1)
    shown = Terminal()
    persist("clear", "--no-input", stderr=shown)
    assert shown.getvalue().startswith("\rdefault: 1 entry deleted")
    assert shown.getvalue().endswith(" \r")


def test_stats_of_a_store(store: Store) -> None:
    store.set_many({"a": 1, "b": 2})
    leave_expired(store, {"c": 3})
    facts = persist("stats", "--json").json["default"]
    driver = type(store.driver)
    assert facts["driver"] == f"{driver.__module__}.{driver.__qualname__}"
    assert facts["entries"] == 2
    # Redis and the memory driver delete expired entries by themselves.
    assert facts["expired"] == (1 if isinstance(store.driver, DatabaseDriver) else 0)
    kind = (
        connections[store.driver.using].vendor if isinstance(store.driver, DatabaseDriver) else ""
    )
    if kind in ("postgresql", "mysql"):
        assert facts["bytes"] > 8192
    else:
        assert facts["bytes"] is None
    shown = persist("stats").out
    assert shown.startswith("default\n  driver   django_persist.drivers.")
    assert "\n  entries  2\n" in shown


@pytest.mark.parametrize("server", ["sqlite", "valkey"])
def test_stats_shows_the_other_stores_if_one_is_unavailable(
    open_store: OpenStore, settings: Any, server: str, free_port: int
) -> None:
    open_store(server)
    away = {**settings.CACHES["valkey"], "LOCATION": f"redis://127.0.0.1:{free_port}"}
    settings.CACHES = {**settings.CACHES, "away": away}
    redis = {**BACKENDS["valkey"], "OPTIONS": {"cache": "away"}}
    settings.PERSIST = {"away": redis, **settings.PERSIST}
    result = persist("stats", "--json")
    assert result.code == 3
    assert "can't be reached" in result.json["away"]["error"]
    assert result.json["default"]["entries"] == 0
    assert f"redis://127.0.0.1:{free_port}/0" == result.json["away"]["place"]
    assert persist("stats").code == 3
    assert persist("stats", "--store=default").code == 0


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (("database", "sqlite", "/srv/a b.sqlite3"), "sqlite:///srv/a%20b.sqlite3"),
        (("database", "sqlite", "default", ":memory:"), "sqlite::memory:?alias=default"),
        (("database", "sqlite", "default", ""), "sqlite::memory:?alias=default"),
        (("database", "sqlite", "file:shop?mode=ro"), "file:shop?mode=ro"),
        (
            ("database", "postgresql", "shop", "127.0.0.1", "5432", "site", "sslmode='require'"),
            "postgresql://site@127.0.0.1:5432/shop",
        ),
        (
            ("database", "postgresql", "", "127.0.0.1", "", "", "service='shop'"),
            "postgresql://127.0.0.1/?service=shop",
        ),
        (
            ("database", "postgresql", "shop", "/run/postgresql", "", ""),
            "postgresql:///shop?host=%2Frun%2Fpostgresql",
        ),
        (("database", "mysql", "shop", "::1", "3306", ""), "mysql://[::1]:3306/shop"),
        (("redis", frozenset({("cache.local", 6379, 1)})), "redis://cache.local:6379/1"),
        (("redis", frozenset({("unix", "/run/redis.sock", 1)})), "unix:///run/redis.sock?db=1"),
        (
            ("redis", frozenset({("b", 7000, 0), ("a", 7000, 0)})),
            "redis://a:7000/0 redis://b:7000/0",
        ),
        (
            ("redis", frozenset({("shop", frozenset({("b", 26379, 0), ("a", 26379, 0)}), 2)})),
            "redis+sentinel://a:26379,b:26379/shop/2",
        ),
        (("memory", "default"), "memory://default"),
        (("file", "/srv/entries"), "file:///srv/entries"),
        ("anything", "anything"),
    ],
)
def test_stats_shows_a_place_as_a_url(location: Any, url: str) -> None:
    assert location_url(location) == url


def test_stats_and_purge_name_each_store_that_is_unavailable(
    open_store: OpenStore, settings: Any, free_port: int, elapse: Any
) -> None:
    """The stores that can be reached are shown and purged all the same."""
    open_store("sqlite").set("old", 1, expires=10)
    elapse(stores["default"], 20)
    database = {**connections["postgresql"].settings_dict, "PORT": free_port}
    redis = {**settings.CACHES["valkey"], "LOCATION": f"redis://127.0.0.1:{free_port}"}
    settings.CACHES = {**settings.CACHES, "away": redis}
    with aliases.alias("away", database), aliases.alias("gone", {**database, "NAME": "gone"}):
        away = {
            alias: {**BACKENDS["postgresql"], "OPTIONS": {"using": alias}}
            for alias in ("away", "gone")
        }
        settings.PERSIST = {
            **{f"first {alias}": store for alias, store in away.items()},
            "redis": {**BACKENDS["valkey"], "OPTIONS": {"cache": "away"}},
            **settings.PERSIST,
        }
        shown, purged = persist("stats"), call("purge_persist", "--json")
        counted = call("purge_persist", "--dry-run")
    for result, unavailable in (
        (shown, ["first away", "first gone", "redis"]),
        (purged, ["first away", "first gone"]),
        (counted, ["first away", "first gone"]),
    ):
        assert result.code == 3
        assert [line.split(":")[0] for line in result.err.splitlines()] == unavailable
        assert "can't be reached" in result.err or "could not be connected to" in result.err
    assert "\n  entries  0\n" in shown.out
    assert purged.json["deleted"]["default"] == 1
    assert purged.json["complete"] is False
    assert counted.out.endswith("; not complete.\n")


def test_stats_never_shows_a_password(settings: Any) -> None:
    url = "redis://user:secret@127.0.0.1:1/0"
    settings.CACHES = {**settings.CACHES, "away": {**settings.CACHES["valkey"], "LOCATION": url}}
    settings.PERSIST = {"default": {**BACKENDS["valkey"], "OPTIONS": {"cache": "away"}}}
    shown = io.StringIO()
    assert "secret" not in persist("stats", stderr=shown).out + shown.getvalue()
