"""manage.py persist get, set and remove."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_persist import Store
from django_persist.exceptions import InvalidExpiryError
from django_persist.management.subcommands.entries import parse_expires
from tests.management.commands import persist

MINUTE = timedelta(minutes=1)


def test_set_get_and_remove(store: Store) -> None:
    assert persist("set", "key", '{"a": [1, "é"]}').out == "'key' was stored in default.\n"
    assert store.get("key") == {"a": [1, "é"]}
    assert persist("get", "key") == (0, '{"a":[1,"é"]}\n', "")
    assert persist("get", "key", "--json").json == {
        "key": "key",
        "value": {"a": [1, "é"]},
        "expires_at": None,
    }
    assert persist("remove", "key") == (0, "'key' removed from default.\n", "")
    assert persist("get", "key") == (1, "", "default has no live entry 'key'.\n")
    assert persist("get", "key", "--json").code == 1


@pytest.mark.parametrize("text", ["null", "0", "-5", '""', "[]", "1e22", "18446744073709551616"])
def test_set_takes_any_json(store: Store, text: str) -> None:
    assert persist("set", "key", text).code == 0
    assert persist("get", "key").out == f"{text}\n"


def test_get_prints_the_stored_text(store: Store) -> None:
    store.driver.set(store.keyspace.full("key"), b'{"a" : 1.10,\n"b":"\xc2\x9b[31m"}', None)
    assert persist("get", "key").out == '{"a" : 1.10, "b":"\\u009b[31m"}\n'
    assert '"value":{"a" : 1.10, "b":"\x9b[31m"}}\n' in persist("get", "key", "--json").out


def test_text_option_stores_and_prints_a_string_without_quotes(store: Store) -> None:
    assert persist("set", "key", "it's [so", "--text").code == 0
    assert store.get("key") == "it's [so"
    assert persist("get", "key", "--text").out == "it's [so\n"
    store.set("key", [1])
    assert persist("get", "key", "--text").out == "[1]\n"


def test_set_reads_a_value_from_stdin(store: Store) -> None:
    assert persist("set", "key", "-", stdin=b' {"a": 1}\n').code == 0
    assert store.get("key") == {"a": 1}
    assert persist("set", "key", "-", "--text", stdin="é\n".encode()).code == 0
    assert store.get("key") == "é\n"


@pytest.mark.parametrize("server", ["sqlite", "valkey"])
@pytest.mark.parametrize(
    ("args", "stdin", "says"),
    [
        (("set", "key", "secret"), b"", "VALUE is not JSON"),
        (("set", "key", "1e999"), b"", "VALUE is not JSON"),
        (("set", "key", "-"), b'"\xffsecret"', "VALUE is not"),
        (("set", "key", "-", "--text"), b"\xffsecret", "VALUE is not UTF-8"),
        (("set", "key", "-"), b"[" * 100_000, "VALUE is not JSON"),
        (("set", "key", "[" * 250 + "]" * 250), b"", "can't be stored"),
        (("set", "", "1"), b"", "at least one character"),
        (("get", "x" * 256), b"", "at most 255"),
        (("remove", "key", ""), b"", "at least one character"),
        (("set", "key", "1", "--expires", "2020-01-01T00:00:00Z"), b"", "not in the future"),
        (("set", "key", "1", "--keep", "--expires", "5"), b"", "exclude each other"),
        (("get", "key", "--store", "defualt"), b"", "Did you mean 'default'?"),
    ],
)
def test_invalid_arguments_exit_with_2(
    store: Store, args: tuple[str, ...], stdin: bytes, says: str
) -> None:
    store.set("key", "old")
    result = persist(*args, stdin=stdin)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert "secret" not in result.err
    assert store.get("key") == "old"


def test_set_create_does_not_change_an_existing_entry(store: Store) -> None:
    assert persist("set", "key", "1", "--create").code == 0
    result = persist("set", "key", "2", "--create")
    assert result.code == 1
    assert result.err == "default already has a live entry 'key'. It was not changed.\n"
    assert store.get("key") == 1


def test_set_keep_keeps_the_expiry(store: Store) -> None:
    store.set("key", 1, expires=600)
    before = store.get_item("key")
    assert persist("set", "key", "2", "--keep").code == 0
    after = store.get_item("key")
    assert before and after
    assert (after.value, after.expires_at) == (2, before.expires_at)
    assert persist("set", "key", "3").code == 0
    item = store.get_item("key")
    assert item and item.expires_at is None


def test_set_takes_a_lifetime_and_a_datetime(store: Store) -> None:
    assert persist("set", "key", "1", "--expires", "2h").code == 0
    item = store.get_item("key")
    assert item and item.ttl
    assert timedelta(hours=2) - MINUTE < item.ttl <= timedelta(hours=2)
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    assert persist("set", "key", "1", "--expires", expires_at.isoformat()).code == 0
    shown = persist("get", "key", "--json").json["expires_at"]
    assert shown == expires_at.isoformat().replace("+00:00", "Z")


def test_set_uses_default_expires_unless_expires_is_never(open_store: Any) -> None:
    store = open_store("memory", DEFAULT_EXPIRES=60)
    persist("set", "default", "1")
    persist("set", "never", "1", "--expires", "never")
    item, never = store.get_item("default"), store.get_item("never")
    assert item and item.expires_at is not None
    assert never and never.expires_at is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(seconds=0.5)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("1.5d", timedelta(hours=36)),
        ("2w", timedelta(weeks=2)),
        ("2126-12-01T12:00:00+02:00", datetime(2126, 12, 1, 10, tzinfo=UTC)),
        ("never", None),
    ],
)
def test_parse_expires(text: str, expected: Any) -> None:
    assert parse_expires(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "a lifetime must be more than 0"),
        ("soon", "'soon' is not like"),
        ("7 d", "is not like"),
        ("-1", "is not like"),
        ("1y", "is not like"),
        ("0.0w", "a lifetime must be more than 0"),
        (
            "2126-12-01T12:00:00",
            "has no offset from UTC. If it is in UTC, write 2126-12-01T12:00:00Z",
        ),
        (
            "2030-01-01",
            "'2030-01-01' has no offset from UTC. If it is in UTC, write 2030-01-01T00:00:00Z",
        ),
        ("9999-12-31T23:59:59.9999Z", "later than a store can hold; for no expiry write never"),
        ("2126-13-01T12:00:00Z", "is not like"),
        ("9" * 400, "at most 365000d; for no expiry write never"),
        ("99999w", "at most 365000d; for no expiry write never"),
    ],
)
def test_set_rejects_invalid_expires(open_store: Any, text: str, says: str) -> None:
    store = open_store("memory")
    result = persist("set", "key", "1", f"--expires={text}")
    assert result.code
    assert says in result.err
    assert "key" not in store
    # Not the words of Python.
    assert not re.search("tzinfo|None|timedelta|datetime", result.err)


def test_remove_takes_many_keys_and_reports_the_missing(store: Store) -> None:
    store.set_many({"a": 1, "b": 2, "c": 3})
    result = persist("remove", "a", "no", "b", "a")
    assert result == (
        1,
        "'a', 'b' removed from default.\n",
        "default has no live entry 'no'.\n",
    )
    assert set(store.keys()) == {"c"}
    result = persist("remove", "c", "no", "--json")
    assert result.code == 1
    assert result.json == {"removed": 1, "missing": ["no"]}


def test_json_output_and_verbosity_0(store: Store) -> None:
    assert persist("set", "key", "1", "--json").json == {"key": "key", "stored": True}
    assert persist("set", "key", "1", "--verbosity=0") == (0, "", "")
    assert persist("remove", "key", "--verbosity=0") == (0, "", "")


def test_get_reports_a_corrupt_entry_without_its_text(store: Store) -> None:
    store.driver.set(store.keyspace.full("key"), b"{secret", None)
    result = persist("get", "key")
    assert (result.code, result.out) == (1, "")
    assert "'key' is corrupt" in result.err
    assert "secret" not in result.err
    assert persist("set", "key", "1").code == 0
    assert persist("get", "key").out == "1\n"


def test_store_option(open_store: Any, settings: Any) -> None:
    open_store("memory")
    [config] = settings.PERSIST.values()
    settings.PERSIST = {
        "default": {**config, "PREFIX": "a:"},
        "other": {**config, "PREFIX": "b:"},
    }
    persist("set", "key", "1", "--store", "other")
    assert persist("get", "key").code == 1
    assert json.loads(persist("get", "key", "--store=other").out) == 1


def test_call_command_takes_expires_as_a_timedelta(open_store: Any) -> None:
    from django.core.management import call_command

    store = open_store("memory")
    call_command("persist", "set", "key", "1", expires=timedelta(hours=1), verbosity=0)
    item = store.get_item("key")
    assert item and item.expires_at is not None
    with pytest.raises(InvalidExpiryError):
        store.set("key", 1, expires=0)
