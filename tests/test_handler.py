"""The stores that the PERSIST setting makes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import django_persist
from django_persist import Store, persist, stores
from django_persist.contract.threads import together
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import InvalidStoreError, PersistError
from tests.conftest import BACKENDS

if TYPE_CHECKING:
    from tests.conftest import OpenStore

MEMORY = "django_persist.drivers.memory.MemoryDriver"


def memory(name: str, **more: Any) -> dict[str, Any]:
    return {"BACKEND": MEMORY, "OPTIONS": {"name": name}, **more}


def test_without_the_setting_entries_are_in_the_default_database() -> None:
    assert list(stores) == ["default"]
    driver = stores["default"].driver
    assert isinstance(driver, DatabaseDriver)
    assert driver.using == "default"


def test_each_alias_is_a_store_of_its_own(settings: Any) -> None:
    settings.PERSIST = {
        "default": memory("one"),
        "hot": memory("two", PREFIX="h:", DEFAULT_EXPIRES=60, MAX_VALUE_BYTES=100),
        "plain": {"BACKEND": MEMORY},
    }
    assert list(stores) == ["default", "hot", "plain"]
    assert "hot" in stores
    assert "cold" not in stores
    hot = stores["hot"]
    assert isinstance(hot, Store)
    assert isinstance(hot.driver, MemoryDriver)
    assert repr(hot) == "<Store over MemoryDriver under 'h:'>"
    hot.set("a", "hot")
    stores["default"].set("a", "default")
    assert (hot.get("a"), stores["default"].get("a"), stores["plain"].get("a")) == (
        *("hot", "default"),
        None,
    )
    for store in (hot, stores["default"]):
        store.clear()


def test_a_store_is_made_once(settings: Any) -> None:
    settings.PERSIST = {"default": memory("one"), "hot": memory("two")}
    assert stores["hot"] is stores["hot"]
    assert stores["hot"] is not stores["default"]


def test_threads_share_one_store(settings: Any) -> None:
    settings.PERSIST = {"default": memory("one")}
    [store] = {id(found): found for found in together(lambda number: stores["default"])}.values()
    assert store is stores["default"]


@pytest.mark.parametrize(
    ("alias", "hint"),
    [
        ("hott", r"Did you mean 'hot'\? Known are 'default', 'hot'\."),
        ("zzz", r"Known are 'default', 'hot'\."),
        ("", "Known are"),
    ],
)
def test_an_unknown_alias_is_an_error_with_a_suggestion(
    settings: Any, alias: str, hint: str
) -> None:
    settings.PERSIST = {"default": memory("one"), "hot": memory("two")}
    with pytest.raises(ImproperlyConfigured, match=f"no store {alias!r}. {hint}"):
        stores[alias]


def test_an_error_is_also_a_persist_error(settings: Any) -> None:
    settings.PERSIST = {}
    with pytest.raises(InvalidStoreError) as caught:
        stores["default"]
    assert isinstance(caught.value, PersistError)


def test_settings_are_followed(settings: Any) -> None:
    settings.PERSIST = {"default": memory("one")}
    first = stores["default"]
    with override_settings(PERSIST={"default": memory("two", PREFIX="x")}):
        assert stores["default"] is not first
        assert persist.place().prefix == "x"
        assert list(stores) == ["default"]
    assert repr(stores["default"]) == repr(first)


def test_an_invalid_setting_can_be_corrected(settings: Any) -> None:
    settings.PERSIST = {"default": memory("one", PREFIX=5)}
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured):
            stores["default"]
    settings.PERSIST = {"default": memory("one")}
    assert stores["default"].count() == 0


def test_a_store_that_is_replaced_leaves_no_connection_open(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["valkey"]}
    store = stores["default"]
    store.get("key")
    pool = store.driver.servers.node.pool  # type: ignore[attr-defined]
    connection = pool.get_connection()
    pool.release(connection)
    assert connection.is_connected
    settings.PERSIST = {"default": BACKENDS["memory"]}
    assert not connection.is_connected
    assert store.get("key") is None  # it can still be used
    store.driver.close()


def test_caches_are_followed(settings: Any) -> None:
    url = settings.CACHES["valkey"]["LOCATION"]
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    settings.CACHES = {**settings.CACHES, "persist": {**alias, "KEY_PREFIX": "one"}}
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.redis.RedisDriver",
            "OPTIONS": {"cache": "persist"},
        }
    }
    first = stores["default"].place()
    settings.CACHES = {**settings.CACHES, "persist": {**alias, "KEY_PREFIX": "two"}}
    assert stores["default"].place() != first


def test_persist_is_the_default_store(open_store: OpenStore) -> None:
    store = open_store("memory", DEFAULT_EXPIRES=60)
    persist.set("a", 1)
    assert persist.get("a") == 1
    assert "a" in persist
    assert "b" not in persist
    persist.namespace("n").create("b", 2)
    assert sorted(store.keys()) == ["a", "n:b"]
    assert persist == store
    item = persist.get_item("a")
    assert item is not None
    assert item.ttl is not None
    assert item.ttl > timedelta(seconds=50)


def test_persist_looks_like_the_store_in_a_shell(settings: Any) -> None:
    settings.PERSIST = {"default": memory("one", PREFIX="p:")}
    assert repr(persist) == repr(stores["default"]) == "<Store over MemoryDriver under 'p:'>"
    assert {"get", "set", "namespace", "driver"} <= set(dir(persist))
    assert not {"delete", "add"} & set(dir(persist))


def test_every_public_name_can_be_imported() -> None:
    for name in django_persist.__all__:
        assert getattr(django_persist, name) is not None
    assert set(django_persist.__all__) == {
        *("persist", "stores", "Store", "Item", "Key", "KEEP", "DEFAULT", "REMOVE", "Remove"),
    }


def run(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_package_can_be_imported_before_the_settings_are_there() -> None:
    run(
        """
        import sys
        import django_persist
        from django_persist import DEFAULT, KEEP, REMOVE, Item, Key, Store, persist, stores
        import django_persist.exceptions, django_persist.middleware, django_persist.handler
        from django.conf import settings

        assert not settings.configured
        loaded = {name for name in sys.modules if name.startswith("django_persist.")}
        assert "django_persist.models" not in loaded, loaded
        drivers = {name for name in loaded if name.startswith("django_persist.drivers.")}
        assert drivers <= {"django_persist.drivers.base"}, drivers
        foreign = {"redis", "django_redis", "pydantic", "attrs", "MySQLdb", "psycopg"}
        assert not foreign & sys.modules.keys(), foreign & sys.modules.keys()
        Key("cart:{user}", expires=60)
        """
    )


def test_settings_are_read_when_a_store_is_first_asked_for() -> None:
    run(
        """
        from django_persist import persist, stores
        from django.conf import settings

        settings.configure(PERSIST={"default": {
            "BACKEND": "django_persist.drivers.memory.MemoryDriver"
        }})
        persist.set("a", 1)
        assert stores["default"].get("a") == 1
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_stores_are_made_can_make_them() -> None:
    code = (
        "import os, sys, threading\n"
        "from django.conf import settings\n"
        "settings.configure(PERSIST={'default': {\n"
        "    'BACKEND': 'django_persist.drivers.memory.MemoryDriver'}})\n"
        "from django_persist import persist, stores\n"
        "taken, done = threading.Event(), threading.Event()\n"
        "def make():\n"
        "    with stores._lock:\n"
        "        taken.set()\n"
        "        done.wait()\n"
        "threading.Thread(target=make).start()\n"
        "taken.wait()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    persist.set('a', 1)\n"
        "    os._exit(0 if persist.get('a') == 1 else 1)\n"
        "done.set()\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0
