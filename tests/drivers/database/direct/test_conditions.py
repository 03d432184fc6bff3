"""What sends a call through Django's cursor: each condition alone. Without it, none does."""

from __future__ import annotations

import asyncio
import functools
import select
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import wrapt
from django.conf import settings as django_settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import ProgrammingError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.database import connection as connection_module
from django_persist.drivers.database.direct import SETTINGS
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias, another, migrate, sqlite
from tests.conftest import DATABASES, OpenStore
from tests.drivers.database.direct.conftest import Count, remove_guards

Taken = Callable[[], bool]


def wrapper_of(store: Store) -> Any:
    return connections[store.driver.using]  # type: ignore[attr-defined]


def takes_direct(store: Store, count: Count) -> bool:
    """Read the entry; return whether the call went below Django's cursor."""
    direct = count.of(lambda: store.get("key"))
    assert store.get("key") == "value"
    return direct == 1


# The calls that take it.

CALLS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("key"),
    "get_item": lambda store: store.get_item("key"),
    "contains": lambda store: "key" in store,
    "set": lambda store: store.set("key", 1, expires=60),
    "create": lambda store: store.create("new", 1),
    "touch": lambda store: store.touch("key", 60),
    "incr": lambda store: store.incr("counter"),
    "remove": lambda store: store.remove("key"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_of_one_key_go_below_the_cursor(
    call: Callable[[Store], object], direct_store: Store, count: Count
) -> None:
    assert count.of(lambda: call(direct_store)) == 1
    with transaction.atomic(wrapper_of(direct_store).alias):
        direct_store.get("key")  # PostgreSQL: psycopg sends BEGIN with it.
        assert count.of(lambda: direct_store.get("key")) == 1


def test_replace_and_a_removal_by_version_go_below_the_cursor(
    direct_store: Store, count: Count
) -> None:
    def version() -> str:
        item = direct_store.get_item("key")
        assert item is not None
        return item.version

    first = version()
    assert count.of(lambda: direct_store.replace("key", "other", first)) == 2  # It reads first.
    second = version()
    assert count.of(lambda: direct_store.remove("key", version=second)) == 2
    assert "key" not in direct_store


def test_calls_of_many_keys_go_through_the_cursor(direct_store: Store, count: Count) -> None:
    def calls() -> None:
        direct_store.set_many({"key": "value", "b": 2})
        direct_store.get_many(["key", "b"])
        list(direct_store.items())

    assert count.of(calls) == 0


def test_the_option_turns_it_off(direct_store: Store, count: Count) -> None:
    using = wrapper_of(direct_store).alias
    assert not takes_direct(Store(DatabaseDriver(using, direct=False)), count)
    assert takes_direct(Store(DatabaseDriver(using)), count)


# Somebody watches, counts, changes or refuses the statements.


def test_an_execute_wrapper_sees_each_call(direct_store: Store, count: Count) -> None:
    seen: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with wrapper_of(direct_store).execute_wrapper(watch):
        assert not takes_direct(direct_store, count)
    assert len(seen) == 2
    assert takes_direct(direct_store, count)


def test_captured_queries_have_each_call(
    direct_store: Store, count: Count, django_assert_num_queries: Any
) -> None:
    using = wrapper_of(direct_store).alias
    with CaptureQueriesContext(connections[using]) as captured:
        assert not takes_direct(direct_store, count)
    assert len(captured) == 2
    with django_assert_num_queries(1, using=using):
        direct_store.set("key", "value")
    assert takes_direct(direct_store, count)


def test_debug_mode_logs_each_call(direct_store: Store, count: Count, settings: Any) -> None:
    settings.DEBUG = True
    wrapper_of(direct_store).queries_log.clear()
    assert not takes_direct(direct_store, count)
    assert len(wrapper_of(direct_store).queries) == 2
    settings.DEBUG = False
    assert takes_direct(direct_store, count)


def test_settings_keep_nothing_that_has_changed(settings: Any) -> None:
    """SETTINGS is the cache of Django's LazySettings, and has what Django itself would say."""
    for value in (True, False, True):
        settings.DEBUG = value
        assert django_settings.DEBUG is value
        assert SETTINGS["DEBUG"] is value
    django_settings.DEBUG = False
    assert SETTINGS.get("DEBUG", False) is False


def by_wrapt(method: Any) -> Any:
    """Return a proxy, which equals the method, and looks like it in nearly every way."""
    return wrapt.FunctionWrapper(
        method, lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs)
    )


def by_wraps(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


METHODS = [
    *((CursorWrapper, name) for name in ("execute", "_execute", "_execute_with_wrappers")),
    *((BaseDatabaseWrapper, name) for name in ("cursor", "_cursor", "make_cursor")),
    (BaseDatabaseWrapper, "ensure_connection"),
]


@pytest.mark.parametrize("replace", [by_wraps, by_wrapt])
@pytest.mark.parametrize(("cls", "name"), METHODS, ids=[name for _, name in METHODS])
def test_a_replaced_method_is_called(
    cls: Any, name: str, replace: Any, direct_store: Store, count: Count
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, name, replace(getattr(cls, name)))
        assert not takes_direct(direct_store, count)
        wrapper_of(direct_store).close()
        direct_store.get("key")
        # Also where it was in place before the connection was opened.
        assert not takes_direct(direct_store, count)
    wrapper_of(direct_store).close()
    direct_store.get("key")
    assert takes_direct(direct_store, count)


@pytest.mark.parametrize(
    "name", ["cursor", "_cursor", "make_cursor", "create_cursor", "ensure_connection"]
)
def test_a_method_that_is_replaced_on_the_connection_is_called(
    name: str, direct_store: Store, count: Count
) -> None:
    wrapper = wrapper_of(direct_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapper, name, getattr(wrapper, name))
        assert not takes_direct(direct_store, count)
    vars(wrapper).pop(name, None)  # monkeypatch leaves the method there
    assert takes_direct(direct_store, count)


def test_djangos_guard_of_tests_without_databases_refuses_calls(
    direct_store: Store, count: Count
) -> None:
    class NoDatabases(SimpleTestCase):
        pass

    NoDatabases._add_databases_failures()  # type: ignore[attr-defined]
    try:
        with pytest.raises(AssertionError, match="are not allowed in SimpleTestCase"):
            direct_store.get("key")
    finally:
        NoDatabases._remove_databases_failures()  # type: ignore[attr-defined]
        NoDatabases.doClassCleanups()
        remove_guards()  # Django 5.2 puts the methods there instead.
    direct_store.get("key")  # The refused call has closed the connection.
    assert takes_direct(direct_store, count)


def test_the_guard_of_pytest_django_refuses_calls(
    direct_store: Store, count: Count, django_db_blocker: Any
) -> None:
    with django_db_blocker.block(), pytest.raises(RuntimeError, match="not allowed"):
        direct_store.get("key")
    direct_store.get("key")  # The refused call has closed the connection.
    assert takes_direct(direct_store, count)


# Another backend, or another connection, than Django's own.


@contextmanager
def with_backend(like: str, cls: type) -> Iterator[Store]:
    """A store over a wrapper of a class of the project's own."""
    with alias("own_backend", another(like)) as name:
        connections[name] = cls(connections[name].settings_dict, name)
        store = Store(DatabaseDriver(name))
        store.set("key", "value")
        yield store


@pytest.mark.parametrize("database", DATABASES)
def test_a_backend_of_the_projects_own_gets_each_call(
    database: str, open_store: OpenStore, count: Count
) -> None:
    using = wrapper_of(open_store(database)).alias
    base: Any = type(connections[using])
    with with_backend(using, type("DatabaseWrapper", (base,), {})) as store:
        assert not takes_direct(store, count)
    with with_backend(using, base) as store:
        assert takes_direct(store, count)


def test_a_client_librarys_connection_of_the_projects_own_gets_each_call(
    open_store: OpenStore, count: Count
) -> None:
    class Connection(sqlite3.Connection):
        pass

    for options, expected in (({}, True), ({"factory": Connection}, False)):
        with alias("own_connection", sqlite(**options)) as name:
            migrate(name)
            store = Store(DatabaseDriver(name))
            store.set("key", "value")
            assert takes_direct(store, count) is expected


def test_a_cursor_of_the_projects_own_gets_each_call(open_store: OpenStore, count: Count) -> None:
    from django.db.backends.postgresql.base import Cursor  # psycopg may not be installed

    open_store("postgresql")
    own = type("Cursor", (Cursor,), {})
    for more, expected in (
        ({}, True),
        ({"server_side_binding": True}, True),
        ({"cursor_factory": own}, False),
    ):
        options = {**another("postgresql")["OPTIONS"], **more}
        with alias("own_cursor", another("postgresql", OPTIONS=options)) as name:
            store = Store(DatabaseDriver(name))
            store.set("key", "value")
            assert takes_direct(store, count) is expected
            # OpenTelemetry's instrument_connection sets it on an open connection.
            connections[name].connection.cursor_factory = own
            assert not takes_direct(store, count)


# Other threads, greenlets, tasks.


def test_greenlets_are_let_run_meanwhile(direct_store: Store, count: Count) -> None:
    """gevent and eventlet replace select.select by a function in Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "select", by_wraps(select.select))
        assert not takes_direct(direct_store, count)
    assert takes_direct(direct_store, count)


def test_an_event_loop_refuses_calls(direct_store: Store, count: Count) -> None:
    wrapper = wrapper_of(direct_store)

    async def call() -> None:
        for connection in (connections[wrapper.alias], wrapper):
            connections[wrapper.alias] = connection  # within the event loop alone
            with pytest.raises(SynchronousOnlyOperation):
                direct_store.get("key")

    assert count.of(lambda: asyncio.run(call())) == 0
    assert takes_direct(direct_store, count)


def in_thread(call: Callable[[], object]) -> None:
    """Make a call in another thread; raise what it raises."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_a_thread_with_anothers_connection_is_refused_or_goes_through_the_cursor(
    direct_store: Store, count: Count
) -> None:
    wrapper = wrapper_of(direct_store)

    def call() -> None:
        connections[wrapper.alias] = wrapper
        try:
            direct_store.get("key")
        finally:
            del connections[wrapper.alias]

    def direct() -> int:
        return count.of(lambda: in_thread(call))

    before = count.direct
    with pytest.raises(Exception, match="can only be used in that same thread"):
        in_thread(call)
    assert count.direct == before
    wrapper.inc_thread_sharing()
    try:
        assert direct() == 0
    finally:
        wrapper.dec_thread_sharing()
    with pytest.raises(Exception, match="can only be used in that same thread"):
        in_thread(call)
    assert takes_direct(direct_store, count)


def test_threads_that_share_a_connection_of_psycopgs_wait_for_each_other(
    open_store: OpenStore, count: Count
) -> None:
    store = open_store("postgresql")
    store.set_many({"mine": "mine", "theirs": "theirs"})
    assert count.of(lambda: store.get("mine")) == 1
    wrapper = connections["postgresql"]
    wrapper.inc_thread_sharing()
    found = set()

    def read_theirs() -> None:
        connections["postgresql"] = wrapper
        for _ in range(300):
            found.add(store.get("theirs"))

    thread = threading.Thread(target=read_theirs)
    try:
        thread.start()
        mine = {store.get("mine") for _ in range(300)}
        thread.join()
    finally:
        wrapper.dec_thread_sharing()
    assert (mine, found) == ({"mine"}, {"theirs"})
    assert count.direct > 1


def test_each_thread_has_a_way_of_its_own(direct_store: Store, count: Count) -> None:
    if wrapper_of(direct_store).vendor == "sqlite":
        return  # Another thread has another database in memory, or waits for this one.

    def call() -> None:
        direct_store.get("key")
        assert takes_direct(direct_store, count)
        wrapper_of(direct_store).close()

    in_thread(call)
    assert takes_direct(direct_store, count)


# A connection that Django looks at before its next statement, or that isn't in its usual state.


def test_a_connection_is_tested_when_django_tests_it(direct_store: Store, count: Count) -> None:
    wrapper = wrapper_of(direct_store)
    wrapper.health_check_enabled, wrapper.health_check_done = True, False
    try:
        assert count.of(lambda: direct_store.get("key")) == 0
        assert wrapper.health_check_done
        assert takes_direct(direct_store, count)
    finally:
        wrapper.health_check_enabled = False


def test_a_connection_with_an_error_goes_through_the_cursor(
    direct_store: Store, count: Count
) -> None:
    wrapper = wrapper_of(direct_store)
    with pytest.raises(Exception, match=r"(?i)nowhere"), wrapper.cursor() as cursor:
        cursor.execute("SELECT 1 FROM nowhere")
    assert not takes_direct(direct_store, count)
    wrapper.close_if_unusable_or_obsolete()
    if wrapper.connection is None:
        direct_store.get("key")
    assert takes_direct(direct_store, count)


def test_a_transaction_that_must_roll_back_refuses_calls(direct_store: Store, count: Count) -> None:
    with transaction.atomic(wrapper_of(direct_store).alias):
        direct_store.get("key")
        transaction.set_rollback(True, wrapper_of(direct_store).alias)
        before = count.direct
        with pytest.raises(TransactionManagementError):
            direct_store.get("key")
        assert count.direct == before
    assert takes_direct(direct_store, count)


def test_a_failed_transaction_of_postgresql_goes_through_the_cursor(
    open_store: OpenStore, count: Count
) -> None:
    store = open_store("postgresql")
    store.set("key", "value")
    wrapper: Any = connections["postgresql"]
    with transaction.atomic("postgresql"):
        store.get("key")
        wrapper.connection.execute("SAVEPOINT mine")
        with pytest.raises(wrapper.Database.Error):
            wrapper.connection.execute("SELECT 1 FROM nowhere")  # not through Django
        before = count.direct
        with pytest.raises(Exception, match="current transaction is aborted"):
            store.get("key")
        assert count.direct == before
        transaction.set_rollback(True, "postgresql")
    wrapper.close()
    store.get("key")
    assert takes_direct(store, count)


def test_a_transaction_that_django_does_not_know_goes_through_the_cursor(
    direct_store: Store, count: Count
) -> None:
    wrapper = wrapper_of(direct_store)
    with wrapper.cursor() as cursor:
        cursor.execute("SET autocommit = 0" if wrapper.vendor == "mysql" else "BEGIN")
        assert not takes_direct(direct_store, count)
        cursor.execute("COMMIT")
        if wrapper.vendor == "mysql":
            cursor.execute("SET autocommit = 1")
    assert takes_direct(direct_store, count)


def test_a_transaction_of_sqlite_that_has_ended_goes_through_the_cursor(
    open_store: OpenStore, count: Count
) -> None:
    store = open_store("sqlite")
    store.set("key", "value")
    with transaction.atomic():
        assert takes_direct(store, count)
        connections["default"].connection.execute("ROLLBACK")
        assert not takes_direct(store, count)
        connections["default"].connection.execute("BEGIN")
    assert takes_direct(store, count)


def test_psycopg_begins_a_transaction(open_store: OpenStore, count: Count) -> None:
    store = open_store("postgresql")
    store.set("key", "value")
    with transaction.atomic("postgresql"):
        assert count.of(lambda: store.get("key")) == 0
        assert count.of(lambda: store.get("key")) == 1
        store.set("key", "other")
        transaction.set_rollback(True, "postgresql")
    assert takes_direct(store, count)
    store.set("key", "value")
    with alias("manual", another("postgresql", AUTOCOMMIT=False)) as name:
        manual = Store(DatabaseDriver(name))
        assert count.of(lambda: manual.get("key")) == 0
        assert count.of(lambda: manual.get("key")) == 1
        connections[name].commit()
        assert count.of(lambda: manual.set("key", "other")) == 0
        connections[name].rollback()
    assert store.get("key") == "value"


def test_sqlite_begins_a_transaction(open_store: OpenStore, count: Count) -> None:
    with alias("manual", {**sqlite(), "AUTOCOMMIT": False}) as name:
        migrate(name)
        connections[name].commit()
        store = Store(DatabaseDriver(name))
        assert count.of(lambda: store.set("key", "value")) == 0  # sqlite3 sends BEGIN with it.
        assert count.of(lambda: store.get("key")) == 1
        connections[name].rollback()
        assert store.get("key") is None


def test_a_pipeline_of_psycopgs_goes_through_the_cursor(
    open_store: OpenStore, count: Count
) -> None:
    store = open_store("postgresql")
    store.set("key", "value")
    with connections["postgresql"].connection.pipeline():
        assert not takes_direct(store, count)
    assert takes_direct(store, count)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_of_a_client_goes_through_the_cursor(
    encoding: str, open_store: OpenStore, count: Count
) -> None:
    store = open_store("postgresql")
    store.set("key", "value")
    with connections["postgresql"].cursor() as cursor:
        cursor.execute(f"SET client_encoding TO {encoding}")
    assert not takes_direct(store, count)
    connections["postgresql"].close()
    store.get("key")
    assert takes_direct(store, count)


def test_a_connection_that_was_closed_below_django_raises_djangos_error(
    direct_store: Store, count: Count
) -> None:
    wrapper = wrapper_of(direct_store)
    if wrapper.vendor == "sqlite":
        return  # The database in memory would be gone: below, with a file.
    wrapper.connection.close()
    with pytest.raises(StoreUnavailableError):
        direct_store.get("key")
    assert direct_store.get("key") == "value"


def test_a_file_that_was_closed_below_django_raises_djangos_error(
    open_store: OpenStore, count: Count
) -> None:
    with alias("file", sqlite()) as name:
        migrate(name)
        store = Store(DatabaseDriver(name))
        store.set("key", "value")
        assert takes_direct(store, count)
        connections[name].connection.close()
        with pytest.raises(ProgrammingError, match="closed database"):
            store.get("key")
        connections[name].close()
        assert store.get("key") == "value"


# The connection that `connections` has now.


def test_another_connection_under_the_same_alias_is_used(open_store: OpenStore) -> None:
    with alias("one", sqlite()) as one, alias("two", sqlite()) as two:
        for name in (one, two):
            migrate(name)
        store = Store(DatabaseDriver(one))
        store.set("key", "one")
        Store(DatabaseDriver(two)).set("key", "two")
        first = connections[one]
        for _ in range(2):
            connections[one] = connections[two]
            assert store.get("key") == "two"
            connections[one] = first
            assert store.get("key") == "one"
        # The alias of a tenant gets other settings.
        before = connections.settings[one]
        connections[one].close()
        connections.settings[one] = connections.settings[two]
        del connections[one]
        assert store.get("key") == "two"
        connections[one].close()
        connections.settings[one] = before
        del connections[one]


def test_asgiref_keeps_the_connections_of_a_thread_where_they_are_looked_for() -> None:
    """Otherwise calls are as right, and slower."""
    for using in connections:
        assert getattr(connection_module.WRAPPERS, using, None) is connections[using]
    found = []
    in_thread(lambda: found.append(getattr(connection_module.WRAPPERS, "default", None)))
    assert found == [None]
