"""An error of the server becomes the same error, and leaves the same state, on both ways."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

import pytest
from django.db import Error, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry
from tests.conftest import DATABASE_SERVERS, OpenStore
from tests.drivers.database import test_errors
from tests.drivers.database.direct.conftest import Count
from tests.drivers.database.test_faults import end_session
from tests.drivers.database.test_refused import row_held, run

pytestmark = pytest.mark.costly

TABLE = Entry._meta.db_table
CODES = [
    *(test_errors.LOST + test_errors.WAITED + test_errors.IDLE + test_errors.NO_TABLE),
    *(test_errors.REFUSED + test_errors.CUT_OFF + test_errors.OTHER),
]
INSIDE = pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])


class Seen(NamedTuple):
    """What a caller can see of a call that failed."""

    errors: list[Any]
    """What it knows of the error, of its cause, and so on."""

    is_open: bool
    errors_occurred: bool
    needs_rollback: bool | None
    next_call: Any
    """What the next call returns, or its error."""


def described(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        diagnosis = getattr(error, "diag", None)
        fields = [each for each in dir(diagnosis) if not each.startswith("_")] if diagnosis else []
        yield (
            type(error),
            # Of processes and transactions.
            re.sub(r"\d{3,}", "N", str(error)),
            None if diagnosis else [re.sub(r"\d{3,}", "N", str(each)) for each in error.args],
            [
                (name, getattr(error, name, None))
                for name in ("sqlstate", "sqlite_errorcode", "maybe_applied", "misconfigured")
            ],
            [(name, re.sub(r"\d{3,}", "N", str(getattr(diagnosis, name)))) for name in fields],
            error.__suppress_context__,
        )
        error = error.__cause__


def seen(
    using: str,
    direct: bool,
    inside: bool,
    call: Callable[[Store], object],
    prepare: Callable[[str], object],
) -> Seen:
    """Return what a caller sees of a call on a way."""
    store = Store(DatabaseDriver(using, retry_seconds=0, direct=direct))
    connection = connections[using]
    connection.close()
    connection.connect()  # which forgets errors
    assert store.get("key") == 1  # reads the driver's statements, too
    needs_rollback = None
    caught: BaseException | None = None
    outcome: Any = None
    block = transaction.atomic(using) if inside else nullcontext()
    with suppress(Error), block:
        if inside:
            store.get("key")  # sends BEGIN
        prepare(using)
        try:
            outcome = call(store)
        except Exception as error:
            caught = error
        if inside:
            needs_rollback = connection.needs_rollback
            transaction.set_rollback(True, using=using)
    is_open = connection.connection is not None
    errors_occurred = connection.errors_occurred
    try:
        next_call: Any = store.get("key")
    except Exception as error:
        next_call = list(described(error))
    errors = list(described(caught)) or [outcome]
    return Seen(errors, is_open, errors_occurred, needs_rollback, next_call)


class Case(NamedTuple):
    """What makes the server fail, while `around` lasts, once `prepare` was called."""

    database: str
    name: str
    call: Callable[[Store], object] = lambda store: store.set("key", 2)
    around: Callable[[str], AbstractContextManager[object]] = lambda using: nullcontext()
    prepare: Callable[[str], object] = lambda using: None


def compare(using: str, inside: bool, case: Case, count: Count, *, fails: bool = True) -> Seen:
    """Assert that both ways show the same; return it."""
    with case.around(using):
        before = count.direct
        direct = seen(using, True, inside, case.call, case.prepare)
        assert count.direct - before >= 2  # the first get, and the call
        before = count.direct
        cursor = seen(using, False, inside, case.call, case.prepare)
        assert count.direct == before
    assert direct == cursor
    if fails:
        assert isinstance(direct.errors[0], tuple), direct.errors
    return direct


@contextmanager
def raising(using: str) -> Iterator[None]:
    """A trigger that raises the error whose code the session has set."""
    vendor = connections[using].vendor
    table = connections[using].ops.quote_name(TABLE)
    if vendor == "postgresql":
        run(
            using,
            """
            CREATE FUNCTION raise_code() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF current_setting('tests.code', true) <> '' THEN
                    RAISE EXCEPTION 'of the trigger'
                    USING ERRCODE = current_setting('tests.code'), DETAIL = 'a line of the row';
                END IF;
                RETURN NEW;
            END $$
            """,
            f"CREATE TRIGGER raising BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION raise_code()",
        )
        drop = [f"DROP TRIGGER raising ON {table}", "DROP FUNCTION raise_code()"]
    else:
        run(
            using,
            f"CREATE TRIGGER raising BEFORE INSERT ON {table} FOR EACH ROW IF @code THEN "
            "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = @code, MESSAGE_TEXT = 'of the trigger'; "
            "END IF",
        )
        drop = ["DROP TRIGGER raising"]
    try:
        yield
    finally:
        connections[using].close()
        run(using, *drop)


def set_code(using: str, code: str) -> None:
    if connections[using].vendor == "postgresql":
        run(using, f"SET tests.code = '{code}'")
    else:
        run(using, f"SET @code = {code}")


@INSIDE
@pytest.mark.parametrize("database", DATABASE_SERVERS)
def test_each_error_of_a_server_is_the_same(
    database: str, inside: bool, open_store: OpenStore, count: Count
) -> None:
    open_store(database).set("key", 1)
    with raising(database):
        for name, code in CODES:
            if name != database:
                continue
            case = Case(database, code, prepare=partial(set_code, code=code))
            # A server that ends an idle connection is asked again, which here fails, too.
            compare(database, inside, case, count)


@contextmanager
def constrained(using: str) -> Iterator[None]:
    if connections[using].vendor == "sqlite":
        add = (
            f"CREATE TRIGGER short BEFORE INSERT ON {TABLE} WHEN length(NEW.value) > 20 "
            "BEGIN SELECT RAISE(ABORT, 'short'); END"
        )
        drop = "DROP TRIGGER short"
    else:
        table = connections[using].ops.quote_name(TABLE)
        add = f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (length(value) < 20)"
        drop = f"ALTER TABLE {table} DROP CONSTRAINT short"
    run(using, add)
    try:
        yield
    finally:
        connections[using].close()
        run(using, drop)


@contextmanager
def held(using: str) -> Iterator[None]:
    """Another session holds the row of the key."""
    with row_held(Store(DatabaseDriver(using))):
        yield


def read_only(using: str) -> None:
    run(
        using,
        {
            "sqlite": "PRAGMA query_only = 1",
            "postgresql": "SET transaction_read_only = on"
            if connections[using].in_atomic_block
            else "SET default_transaction_read_only = on",
            "mysql": "SET SESSION TRANSACTION READ ONLY",
        }[connections[using].vendor],
    )


def ended(using: str) -> None:
    end_session(using)
    time.sleep(0.1)  # until the news is here


@contextmanager
def without_free_pages(using: str) -> Iterator[None]:
    run(using, "VACUUM")  # Other tests leave some.
    yield


def short_of_pages(using: str) -> None:
    run(using, "PRAGMA max_page_count = 1")  # which means: no more than it has


def idle(using: str, statements: Sequence[str], seconds: float) -> None:
    """Run statements, and leave the connection alone for a while."""
    run(using, *statements)
    time.sleep(seconds)


CASES = [
    *(
        Case(name, "constraint", lambda store: store.set("key", "x" * 30), constrained)
        for name in ("sqlite", *DATABASE_SERVERS)
    ),
    *(Case(name, "read only", prepare=read_only) for name in ("sqlite", "postgresql")),
    *(Case(name, "ended", prepare=ended) for name in DATABASE_SERVERS),
    *(
        Case(name, "ended, reading", lambda store: store.get("key"), prepare=ended)
        for name in DATABASE_SERVERS
    ),
    Case(
        "sqlite",
        "full",
        lambda store: store.set("key", "x" * 100_000),
        without_free_pages,
        short_of_pages,
    ),
    Case(
        "postgresql",
        "lock_timeout",
        around=held,
        prepare=lambda using: run(using, "SET lock_timeout = '20ms'"),
    ),
    Case(
        "postgresql",
        "statement_timeout",
        around=held,
        prepare=lambda using: run(using, "SET statement_timeout = '20ms'"),
    ),
    Case(
        "postgresql",
        "idle_session_timeout",
        prepare=partial(
            idle,
            statements=[
                "SET idle_session_timeout = '10ms'",
                "SET idle_in_transaction_session_timeout = '10ms'",
            ],
            seconds=0.1,
        ),
    ),
    Case(
        "mariadb",
        "max_statement_time",
        around=held,
        prepare=lambda using: run(using, "SET max_statement_time = 0.02"),
    ),
    *(
        Case(
            name,
            "innodb_lock_wait_timeout",
            around=held,
            prepare=lambda using: run(using, "SET innodb_lock_wait_timeout = 1"),
        )
        for name in ("mariadb", "mysql")
    ),
    *(
        Case(
            name,
            "wait_timeout",
            prepare=partial(idle, statements=["SET wait_timeout = 1"], seconds=1.3),
        )
        for name in ("mariadb", "mysql")
    ),
]


@INSIDE
@pytest.mark.parametrize(
    ("database", "case"),
    [(case.database, case) for case in CASES],
    ids=[f"{case.database}: {case.name}" for case in CASES],
)
def test_each_failure_is_the_same(
    database: str, case: Case, inside: bool, open_store: OpenStore, count: Count
) -> None:
    using = open_store(database).driver.using  # type: ignore[attr-defined]
    Store(DatabaseDriver(using)).set("key", 1)
    compare(
        using, inside, case, count, fails=not (case.name == "idle_session_timeout" and not inside)
    )
    connections[using].close()
