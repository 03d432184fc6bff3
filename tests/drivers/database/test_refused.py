"""Databases that refuse because of their own state: read-only, full, crowded, locked."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest
from django.db import (
    Error,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)

from django_persist import KEEP, Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import ContentionError, StoreUnavailableError
from django_persist.models import Entry
from tests.aliases import alias, sqlite
from tests.conftest import BACKENDS, DATABASE_SERVERS, MYSQLS, OwnServer
from tests.drivers.database.test_contention import elsewhere, using

pytestmark = pytest.mark.usefixtures("way")

TABLE = Entry._meta.db_table


@contextmanager
def refused(match: str | None = None) -> Iterator[None]:
    """The call reports that it was refused, and has changed nothing."""
    with pytest.raises(StoreUnavailableError, match=match) as caught:
        yield
    assert isinstance(caught.value, OperationalError)
    assert caught.value.maybe_applied is False
    assert caught.value.__cause__ is not None


def run(using: str, *statements: str) -> None:
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_read_only_database_refuses(database_store: Store) -> None:
    name = using(database_store)
    on, off = {
        "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
        "postgresql": (
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off",
        ),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    }[connections[name].vendor]
    database_store.set("key", 1)
    try:
        for call in (
            lambda: database_store.set("key", 2),
            lambda: database_store.set_many({str(n): 2 for n in range(1001)}),
            database_store.clear,
        ):
            run(name, on)
            before = connections[name].connection
            with refused():
                call()
            # A demoted server would go on to refuse: the next call connects again.
            if name != "default":
                assert connections[name].connection is not before
        assert database_store.get("key") == 1
        assert database_store.count() == 1
    finally:
        run(name, off)


@pytest.mark.parametrize("own", ["own mariadb"], indirect=True)
def test_a_read_only_server_refuses_writes(own: OwnServer) -> None:
    store = Store(DatabaseDriver(own.alias))
    store.set("key", 1)
    own.admin("SET GLOBAL read_only = 1")
    with refused():
        store.set("key", 2)
    with refused(), transaction.atomic(own.alias):
        store.incr("key")
    assert store.get("key") == 1
    own.admin("SET GLOBAL read_only = 0")
    assert store.incr("key") == 2


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_full_database_refuses(database: str, open_store: Callable[..., Store]) -> None:
    store = open_store(database)
    store.set("key", 1)
    run("default", "VACUUM")  # other tests leave free pages
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        [pages] = cursor.fetchone()
    run("default", f"PRAGMA max_page_count = {pages + 2}")
    try:
        with refused():
            store.set("large", "x" * 1_000_000)
        with refused():
            store.set_many({f"large:{n:04}": "x" * 1000 for n in range(1500)})
        with refused(), transaction.atomic("default"):
            store.set("key", 2)
            store.set("large", "x" * 1_000_000)
        assert store.get("key") == 1
        assert store.count() == 1
    finally:
        run("default", "PRAGMA max_page_count = 1073741823")


def test_too_many_connections_raise(own: OwnServer) -> None:
    store = Store(DatabaseDriver(own.alias))
    connections[own.alias].close()
    others = [connections[own.alias].copy() for _ in range(20)]
    try:
        with pytest.raises(OperationalError):
            for other in others:
                other.ensure_connection()
        with refused("too many clients|Too many connections"):
            store.set("key", 1)
    finally:
        for other in others:
            other.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # a server takes a moment to see that they are gone
        try:
            store.set("key", 2)
            break
        except StoreUnavailableError:
            time.sleep(0.01)
    assert store.get("key") == 2


@pytest.mark.parametrize(
    "state", [["XA END 'x'"], ["XA END 'x'", "XA PREPARE 'x'"]], ids=["idle", "prepared"]
)
@pytest.mark.parametrize("server", ["mariadb"])
def test_an_xa_transaction_that_has_ended_refuses_calls(
    server: str, state: list[str], open_store: Callable[..., Store]
) -> None:
    """MariaDB's error 1399: this session takes no other statement until the transaction is over."""
    store = open_store(server)
    store.set("key", 1)
    run(server, "XA START 'x'", f"UPDATE {TABLE} SET value = '2'", *state)
    try:
        for call in (
            lambda: store.get("key"),
            lambda: store.set("key", 3),
            lambda: store.create("new", 3),
            lambda: store.incr("key"),
            store.clear,
        ):
            with refused():
                call()
    finally:
        run(server, "XA ROLLBACK 'x'")
    assert store.get("key") == 1
    assert store.count() == 1


@pytest.mark.parametrize("server", ["mariadb"])
def test_a_transaction_of_many_statements_inside_an_xa_transaction_is_refused(
    server: str, open_store: Callable[..., Store]
) -> None:
    """Its COMMIT is refused, and as it can't be rolled back either, the connection is closed."""
    store = open_store(server)
    store.set("key", 1)
    run(server, "XA START 'x'")
    with refused():
        store.set_many({"key": 2, **{str(n): 2 for n in range(1001)}})
    assert store.get("key") == 1
    assert store.count() == 1


PATIENCE = {
    "postgresql": "SET statement_timeout = '50ms'",
    "mariadb": "SET max_statement_time = 0.05",
}


@contextmanager
def row_held(store: Store) -> Iterator[None]:
    """Another session has written the key and keeps its transaction open."""
    other = connections[using(store)].copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET value = '\"theirs\"'")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@pytest.mark.parametrize("database", PATIENCE)  # On MySQL only a SELECT can be limited.
def test_a_statement_that_takes_too_long_is_refused(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set_many({"key": 1, "other": 1})
    errors = []

    def write() -> None:
        run(database, PATIENCE[database])
        calls: list[Callable[[], None]] = [
            lambda: store.set("key", 2),
            lambda: store.set_many({"key": 2, **{str(n): 2 for n in range(1001)}}),
        ]
        for call in calls:
            try:
                call()
            except StoreUnavailableError as error:
                errors.append(error)
        try:
            with transaction.atomic(database):
                store.set("new", 2)
                store.remove("key")
        except StoreUnavailableError as error:
            errors.append(error)

    with row_held(store):
        elsewhere(write)
    assert [error.maybe_applied for error in errors] == [False] * 3
    assert store.get_many(["key", "other", "new", "1"]) == {"key": 1, "other": 1}
    assert store.count() == 2


@pytest.mark.parametrize("database", ["mysql"])
def test_a_read_that_takes_too_long_is_refused(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set("key", 1)
    outcomes = []

    def read() -> None:
        run(database, "SET max_execution_time = 50")
        for call in (lambda: store.get("key"), lambda: store.get_many(["key"]), store.count):
            with refused():
                call()
            outcomes.append("refused")

    with table_held(store):
        elsewhere(read)
    assert outcomes == ["refused"] * 3
    assert store.get("key") == 1


@pytest.mark.parametrize("database", ["mysql"])
def test_a_read_only_schema_refuses_writes(database: str, open_store: Callable[..., Store]) -> None:
    store = open_store(database)
    store.set("key", 1)
    schema = connections[database].ops.quote_name(connections[database].settings_dict["NAME"])
    run(database, f"ALTER SCHEMA {schema} READ ONLY = 1")
    try:
        with refused():
            store.set("key", 2)
        with refused(), transaction.atomic(database):
            store.incr("key")
        assert store.get("key") == 1
    finally:
        run(database, f"ALTER SCHEMA {schema} READ ONLY = 0")
    assert store.incr("key") == 2


@contextmanager
def table_held(store: Store) -> Iterator[None]:
    """Another session has locked the whole table."""
    other = connections[using(store)].copy()
    locks = {
        "sqlite": ("BEGIN EXCLUSIVE", "ROLLBACK"),
        "postgresql": (f"BEGIN; LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
        "mysql": (f"LOCK TABLES {TABLE} WRITE", "UNLOCK TABLES"),
    }
    lock, unlock = locks[other.vendor]
    with other.cursor() as cursor:
        cursor.execute(lock)
        try:
            yield
        finally:
            cursor.execute(unlock)
            other.close()


def no_patience(store: Store) -> None:
    """Let this connection wait for a table as short as the server allows."""
    run(
        using(store),
        {
            "sqlite": "PRAGMA busy_timeout = 10",
            "postgresql": "SET lock_timeout = '10ms'",
            "mysql": "SET lock_wait_timeout = 0",
        }[connections[using(store)].vendor],
    )


def test_a_call_waits_for_a_locked_table_as_long_as_the_server_does(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(
        database, OPTIONS={"using": BACKENDS[database]["OPTIONS"]["using"], "retry_seconds": 0.2}
    )
    store.set("key", 1)
    errors = []

    def write() -> None:
        no_patience(store)
        try:
            store.set("key", 2)
        except ContentionError as error:
            errors.append(error)

    with table_held(store):
        started = time.monotonic()
        elsewhere(write)
        assert time.monotonic() - started < 5
    assert len(errors) == 1 and isinstance(errors[0], OperationalError)
    assert store.get("key") == 1
    elsewhere(write)
    assert store.get("key") == 2


def test_a_missing_table_says_to_migrate(database: str, open_store: Callable[..., Store]) -> None:
    with unmigrated(database) as name:
        store = Store(DatabaseDriver(name))
        for call in (
            lambda: store.get("key"),
            lambda: store.set("key", 1),
            lambda: store.set_many({str(n): 1 for n in range(2001)}),
            lambda: list(store.keys()),
            store.purge,
        ):
            with pytest.raises(StoreUnavailableError, match="migrate --database") as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, ProgrammingError | OperationalError)


@contextmanager
def unmigrated(database: str) -> Iterator[str]:
    """An alias of a database without the table."""
    if database == "sqlite":
        with alias("unmigrated", sqlite()) as name:
            yield name
        return
    using = BACKENDS[database]["OPTIONS"]["using"]
    table = connections[using].ops.quote_name(TABLE)
    away = connections[using].ops.quote_name("away")
    run(using, f"ALTER TABLE {table} RENAME TO {away}")
    try:
        yield using
    finally:
        run(using, f"ALTER TABLE {away} RENAME TO {table}")


VALUE = "xyzzy" * 5


def shown(error: BaseException) -> str:
    """Return what a log shows of an error: all lines of its traceback that aren't source code."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("    "))


WRITES: list[Callable[[Store], object]] = [
    lambda store: store.set("key", VALUE),
    lambda store: store.set("key", VALUE, expires=KEEP),
    lambda store: store.create("new", VALUE),
    lambda store: store.update("key", lambda old: VALUE),
    lambda store: store.set_many({"other": 1, "key": VALUE}),
]

Statements: TypeAlias = tuple[list[str], list[str]]
"""What creates something in the database, and what drops it."""

EVENTS = ("INSERT", "UPDATE")


def mysql_trigger(body: str) -> Statements:
    """Return triggers that run `body` for each long value."""
    return (
        [
            f"CREATE TRIGGER refusing_{event} BEFORE {event} ON {TABLE} FOR EACH ROW BEGIN "
            "DECLARE text VARCHAR(100); DECLARE number INT; "
            f"IF length(NEW.value) > 20 THEN {body}; END IF; END"
            for event in EVENTS
        ],
        [f"DROP TRIGGER refusing_{event}" for event in EVENTS],
    )


def postgresql_trigger(body: str) -> Statements:
    """Return a trigger that does the same on PostgreSQL."""
    return (
        [
            (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF length(NEW.value) > 20 THEN {body}; END IF; RETURN NEW; END $$"
            ),
            (
                f"CREATE TRIGGER refusing BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW "
                "EXECUTE FUNCTION refuse()"
            ),
        ],
        [f"DROP TRIGGER refusing ON {TABLE}", "DROP FUNCTION refuse()"],
    )


SAYS_NO = "SET text = concat('no: ', NEW.value); SIGNAL SQLSTATE"

TRIGGERS: dict[str, dict[str, Statements]] = {
    "raised by a trigger": {
        "sqlite": (
            [
                f"CREATE TRIGGER refusing_{event} BEFORE {event} ON {TABLE} "
                "WHEN length(NEW.value) > 20 BEGIN SELECT RAISE(ABORT, 'xyzzyx says no'); END"
                for event in EVENTS
            ],
            [f"DROP TRIGGER refusing_{event}" for event in EVENTS],
        ),
        **dict.fromkeys(MYSQLS, mysql_trigger(f"{SAYS_NO} '45000' SET MESSAGE_TEXT = text")),
        "postgresql": postgresql_trigger("RAISE EXCEPTION 'no: %', NEW.value"),
    },
    "raised by a trigger with a code of its own": {
        "postgresql": postgresql_trigger(
            "RAISE check_violation USING MESSAGE = 'no: ' || NEW.value"
        ),
        **dict.fromkeys(
            MYSQLS,
            mysql_trigger(f"{SAYS_NO} '23000' SET MESSAGE_TEXT = text, MYSQL_ERRNO = 5555"),
        ),
    },
    "quoted by the server": {
        "postgresql": (
            [
                (
                    f"CREATE INDEX ints ON {TABLE} "
                    "((CASE WHEN length(value) > 20 THEN value::int ELSE 0 END))"
                )
            ],
            ["DROP INDEX ints"],
        ),
        **dict.fromkeys(MYSQLS, mysql_trigger("SET number = NEW.value")),
    },
}


@pytest.mark.parametrize(
    ("kind", "server"), [(kind, server) for kind in TRIGGERS for server in TRIGGERS[kind]]
)
def test_an_error_of_the_project_s_own_code_in_the_database_shows_no_value(
    kind: str, server: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(server)
    name = using(store)
    create, drop = TRIGGERS[kind][server]
    store.set("key", "fits")
    run(name, *create)
    try:
        for call in WRITES:
            with pytest.raises(Error, match="not shown here") as caught:
                call(store)
            assert "xyzzyx" not in shown(caught.value)
            assert type(caught.value).__module__ == "django.db.utils"
            assert caught.value.__cause__ is not None
            with pytest.raises(Error) as caught, transaction.atomic(name):
                call(store)
            assert "xyzzyx" not in shown(caught.value)
        assert store.get_many(["key", "new", "other"]) == {"key": "fits"}
    finally:
        run(name, *drop)


def test_a_missing_table_shows_no_value(database: str, open_store: Callable[..., Store]) -> None:
    open_store(database)
    calls: list[Callable[[Store], object]] = [
        *WRITES,
        lambda store: store.replace("key", VALUE, "version"),
    ]
    with unmigrated(database) as name:
        for call in calls:
            with pytest.raises(StoreUnavailableError) as caught:
                call(Store(DatabaseDriver(name)))
            assert "xyzzyx" not in shown(caught.value)


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_a_constraint_of_the_project_s_shows_no_value(
    server: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(server)
    name, value = using(store), VALUE
    table = connections[name].ops.quote_name(TABLE)
    run(name, f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (length(value) < 20)")
    try:
        store.set("key", "fits")
        calls: list[Callable[[], object]] = [
            lambda: store.set("key", value),
            lambda: store.create("new", value),
            lambda: store.set_many({"other": 1, "key": value}),
        ]
        for call in calls:
            with pytest.raises((IntegrityError, OperationalError), match="short") as caught:
                call()
            assert value not in "".join(traceback.format_exception(caught.value))
        assert store.get_many(["key", "new", "other"]) == {"key": "fits"}
    finally:
        run(name, f"ALTER TABLE {table} DROP CONSTRAINT short")
