"""What an error of the database says about the statement that failed."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NoReturn

from django.db import Error, InterfaceError, OperationalError

from ...exceptions import ContentionError, StoreUnavailableError
from ...models import Entry


class DatabaseContentionError(ContentionError, OperationalError):
    """A ContentionError that is also an OperationalError, for code that retries transactions."""


class DatabaseUnavailableError(StoreUnavailableError, OperationalError):
    """A StoreUnavailableError that is also an OperationalError, for the same code."""


class Outcome(Enum):
    """What happened to a statement that failed."""

    LOST = auto()
    """It lost against other writers and changed nothing; another try can win."""

    WAITED = auto()
    """It waited for a lock as long as the server's settings say, and changed nothing."""

    IDLE = auto()
    """The server had ended the connection, which was idle, before it saw the statement."""

    REFUSED = auto()
    """The server refused it because of its own state, and changed nothing."""

    READ_ONLY = auto()
    """The server takes no writes: it may have been demoted, and another be the primary."""

    NO_TRANSACTIONS = auto()
    """A pooler before the server refused to begin a transaction, and closed the connection."""

    NO_SESSION = auto()
    """A pooler before the server had no session for it in time, and closed the connection."""

    NO_TABLE = auto()
    """The table of entries is missing, so it did nothing."""

    CUT_OFF = auto()
    """The connection was lost; the statement may have taken effect."""

    OTHER = auto()
    """None of these: a missing privilege, a broken transaction, a defect."""


def classify(vendor: str, error: Error) -> Outcome:
    """Return what an error that Django raised says about the statement."""
    return {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}[vendor](error)


# PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html

POSTGRESQL_LOST = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
}
POSTGRESQL_WAITED = {
    "55P03",  # lock_not_available: lock_timeout
}
POSTGRESQL_IDLE = {
    "57P05",  # idle_session_timeout
}
POSTGRESQL_CUT_OFF = {
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "40003",  # statement_completion_unknown
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
}
POSTGRESQL_READ_ONLY = {
    "25006",  # read_only_sql_transaction
}
POSTGRESQL_NO_TABLE = {
    "42P01",  # undefined_table
}
POSTGRESQL_REFUSED = {
    "57014",  # query_canceled: statement_timeout
    "57P03",  # cannot_connect_now
    "XX001",  # data_corrupted
    "XX002",  # index_corrupted
}
PGBOUNCER_REFUSED = {
    "transaction blocks not allowed in statement pooling mode": Outcome.NO_TRANSACTIONS,
    "query_wait_timeout": Outcome.NO_SESSION,
}
"""PgBouncer's own messages. Its code for most of them, 08P01, stands for any protocol violation."""
POSTGRESQL_REFUSED_CLASSES = {"53", "58"}  # insufficient resources, system error


def _postgresql(error: Error) -> Outcome:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is None:
        # The client library itself raised it: the connection broke or was closed.
        return (
            Outcome.CUT_OFF
            if isinstance(error, OperationalError | InterfaceError)
            else Outcome.OTHER
        )
    if getattr(getattr(cause, "diag", None), "severity_nonlocalized", None) == "PANIC":
        # The server crashes, such as when its log can't grow on a full disk. A COMMIT that met the
        # error may be in the log already.
        return Outcome.CUT_OFF
    for states, outcome in (
        (POSTGRESQL_LOST, Outcome.LOST),
        (POSTGRESQL_WAITED, Outcome.WAITED),
        (POSTGRESQL_IDLE, Outcome.IDLE),
        (POSTGRESQL_READ_ONLY, Outcome.READ_ONLY),
        (POSTGRESQL_NO_TABLE, Outcome.NO_TABLE),
    ):
        if state in states:
            return outcome
    if state == "08P01" and (refused := PGBOUNCER_REFUSED.get(str(error).partition("\n")[0])):
        return refused
    if state in POSTGRESQL_CUT_OFF or state[:2] == "08":
        return Outcome.CUT_OFF
    if state in POSTGRESQL_REFUSED or state[:2] in POSTGRESQL_REFUSED_CLASSES:
        return Outcome.REFUSED
    return Outcome.OTHER


# SQLite: https://www.sqlite.org/rescode.html

SQLITE_ERROR = 1  # the only code for many errors of a statement
SQLITE_LOST = {5, 6}  # BUSY, LOCKED
SQLITE_CUT_OFF = {10}  # IOERR: a commit whose fsync failed may still be on the disk
SQLITE_REFUSED = {
    7,  # NOMEM
    8,  # READONLY
    9,  # INTERRUPT
    11,  # CORRUPT
    13,  # FULL
    14,  # CANTOPEN
    15,  # PROTOCOL
    26,  # NOTADB
}


def _sqlite(error: Error) -> Outcome:
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
    if code in SQLITE_LOST:
        return Outcome.LOST
    if code == SQLITE_ERROR and f"no such table: {Entry._meta.db_table}" in str(error):
        return Outcome.NO_TABLE
    if code in SQLITE_CUT_OFF:
        return Outcome.CUT_OFF
    return Outcome.REFUSED if code in SQLITE_REFUSED else Outcome.OTHER


# MariaDB and MySQL: https://mariadb.com/docs/server/reference/error-codes
# https://dev.mysql.com/doc/mysql-errors/9.4/en/server-error-reference.html

MYSQL_LOST = {
    1020,  # CHECKREAD: the row has changed since the transaction's snapshot
    1213,  # LOCK_DEADLOCK
    3101,  # MySQL: TRANSACTION_ROLLBACK_DURING_COMMIT: Group Replication found a conflict
    3572,  # MySQL: LOCK_NOWAIT
}
MYSQL_WAITED = {
    1205,  # LOCK_WAIT_TIMEOUT
}
MYSQL_IDLE = {
    4031,  # MySQL: CLIENT_INTERACTION_TIMEOUT
}
MYSQL_NO_TABLE = {
    1146,  # NO_SUCH_TABLE
}
MYSQL_READ_ONLY = {
    1290,  # OPTION_PREVENTS_STATEMENT: read_only
    1792,  # CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1836,  # READ_ONLY_MODE
    1874,  # INNODB_READ_ONLY
    3032,  # MySQL: SERVER_OFFLINE_MODE
    3989,  # MySQL: SCHEMA_READ_ONLY
}
MYSQL_CUT_OFF = {
    0,  # mysqlclient: the connection was closed
    1053,  # SERVER_SHUTDOWN
    1080,  # FORCING_CLOSE
    1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161,  # network errors
    1184,  # NEW_ABORTING_CONNECTION
    1927,  # CONNECTION_KILLED
    2006,  # SERVER_GONE_ERROR
    2013,  # SERVER_LOST
    2014,  # COMMANDS_OUT_OF_SYNC: an earlier call was interrupted before it read its answer
    2026,  # SSL_CONNECTION_ERROR
    2027,  # MALFORMED_PACKET
    2055,  # SERVER_LOST_EXTENDED
    3169,  # MySQL: SESSION_WAS_KILLED
    4081, 4082,  # MySQL: GLOBAL_CONN_LIMIT, CONN_LIMIT: of the memory of connections
}  # fmt: skip
MYSQL_REFUSED = {
    3,  # EE_WRITE
    1021,  # DISK_FULL
    1026,  # ERROR_ON_WRITE
    1030,  # GET_ERRNO of the storage engine
    1034,  # NOT_KEYFILE
    1037,  # OUTOFMEMORY
    1040,  # CON_COUNT_ERROR
    1041,  # OUT_OF_RESOURCES
    1047,  # UNKNOWN_COM_ERROR: a node of Galera that is not ready
    1114,  # RECORD_FILE_FULL
    1194,  # CRASHED_ON_USAGE
    1203,  # TOO_MANY_USER_CONNECTIONS
    1206,  # LOCK_TABLE_FULL
    1226,  # USER_LIMIT_REACHED
    1317,  # QUERY_INTERRUPTED
    1399,  # XAER_RMFAIL: the caller's XA transaction takes no such statement now
    1637,  # TOO_MANY_CONCURRENT_TRXS
    1712,  # INDEX_CORRUPT
    1969,  # STATEMENT_TIMEOUT
    3024,  # MySQL: QUERY_TIMEOUT: max_execution_time
    3100,  # MySQL: RUN_HOOK_ERROR: Group Replication could not certify the transaction
    3781, 3782, 3783,  # MySQL: GR_HOLD: Group Replication held the statement, then gave up
}  # fmt: skip


def _mysql(error: Error) -> Outcome:
    code = error.args[0] if error.args else 0
    for codes, outcome in (
        (MYSQL_LOST, Outcome.LOST),
        (MYSQL_WAITED, Outcome.WAITED),
        (MYSQL_IDLE, Outcome.IDLE),
        (MYSQL_READ_ONLY, Outcome.READ_ONLY),
        (MYSQL_NO_TABLE, Outcome.NO_TABLE),
    ):
        if code in codes:
            return outcome
    if code in MYSQL_CUT_OFF:
        return Outcome.CUT_OFF
    return Outcome.REFUSED if code in MYSQL_REFUSED else Outcome.OTHER


# Whether a connection was refused because of the user, the password or the database. If in doubt it
# was: a rate limit must not let everyone through because its password is wrong.

POSTGRESQL_FROM_SERVER = re.compile(
    r"(?:^|: )\S+:  (.+)|no password supplied|couldn't get a connection", re.MULTILINE
)
"""The server's own message, after its severity and two spaces: before a login libpq has no code. Or
the client has no password, or psycopg's pool doesn't say why it has no connection."""

POSTGRESQL_BUSY = re.compile(
    r"""
    the\ database\ system\ is\       # starting up, shutting down, in recovery mode
    | too\ many\                      # clients already, connections for role or database
    | remaining\ connection\ slots
    | terminating\ connection
    | shutting\ down                  # from here on: PgBouncer
    | cannot\ connect\ to\ server
    | server\ login\ has\ been\ failing(?!.*authentication)
    | no\ more\ connections
    | query_wait_timeout
    """,
    re.VERBOSE,
)
"""Messages of a server that would take the login at another time."""

MYSQL_NOT_REACHED = {2002, 2003, 2005}  # CONNECTION_ERROR, CONN_HOST_ERROR, UNKNOWN_HOST


def is_login_refused(vendor: str, error: Error) -> bool:
    """Return whether a server that could be reached refused to let the user in."""
    if vendor == "postgresql":
        messages = POSTGRESQL_FROM_SERVER.findall(str(error))
        return any(not POSTGRESQL_BUSY.search(message) for message in messages)
    if vendor == "mysql":
        code = error.args[0] if error.args else 0
        return code not in MYSQL_NOT_REACHED and _mysql(error) is Outcome.OTHER
    return False


# What an error's text may show. A trigger, or an index on an expression of `value`, is the
# project's own, and so is what it says; other errors name a constraint, a privilege or a column.

POSTGRESQL_QUOTING_CLASSES = {
    "22",  # data exception: invalid input syntax for type integer: "..."
    "P0",  # PL/pgSQL error: RAISE
}
POSTGRESQL_QUOTING = {
    "42601",  # syntax_error: at or near "..."
}
MYSQL_QUOTING_NOTHING = {
    *(1044, 1045, 1142, 1143, 1227, 1370),  # access denied
    1048,  # BAD_NULL
    1054,  # BAD_FIELD
    1264,  # WARN_DATA_OUT_OF_RANGE
    1305,  # SP_DOES_NOT_EXIST
    1364,  # NO_DEFAULT_FOR_FIELD
    1406,  # DATA_TOO_LONG
    3819,  # MySQL: CHECK_CONSTRAINT_VIOLATED
    4025,  # MariaDB: CONSTRAINT_FAILED
}
"""Of the others, many quote: 1062, 1292, 1366. SIGNAL can raise any other, with any text."""

SQLITE_CONSTRAINT_TRIGGER = 1811
"""RAISE(ABORT, ...), whose text can be an expression."""


def raise_without_values(vendor: str, error: Error) -> NoReturn:
    """Raise an error of the database as it is, unless its message can show the value.

    PostgreSQL adds lines with the row that broke a constraint: "DETAIL:  Failing row contains".
    """
    cause = error.__cause__
    message, _, more = str(error.args[-1] if error.args else "").partition("\n")
    if (code := _quoting_code(vendor, error, cause)) is not None:
        message = (
            f"The database refused the call with the error {code}. Its message is not shown here, "
            "because it can contain the value."
        )
    elif not more:
        raise error
    raise _with_message(error, message) from cause and _with_message(cause, message)


def _quoting_code(vendor: str, error: Error, cause: BaseException | None) -> str | int | None:
    """Return the code of an error whose message can quote the value; None for any other."""
    if vendor == "postgresql":
        state: str = getattr(cause, "sqlstate", None) or ""
        # An error within a function has a context. It can have any code, and say anything.
        if (
            state in POSTGRESQL_QUOTING
            or state[:2] in POSTGRESQL_QUOTING_CLASSES
            or getattr(getattr(cause, "diag", None), "context", None)
        ):
            return state
    elif vendor == "mysql":
        code = error.args[0] if error.args else None
        if isinstance(code, int) and code not in MYSQL_QUOTING_NOTHING:
            return code
    elif getattr(cause, "sqlite_errorcode", None) == SQLITE_CONSTRAINT_TRIGGER:
        return "SQLITE_CONSTRAINT_TRIGGER"
    return None


def _with_message(error: BaseException, message: str) -> BaseException:
    """Return an error of the same class and code with another message."""
    copied = type(error)(*error.args[:-1], message)
    for name in ("sqlite_errorcode", "sqlite_errorname"):
        if hasattr(error, name):
            setattr(copied, name, getattr(error, name))
    return copied
