"""manage.py persist export and import: corrupt entries, and invalid or incomplete files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from django_persist import Store, stores
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import MYSQLS, OpenStore
from tests.management.commands import Terminal, open_two, persist
from tests.management.exports import entry, fill, lines

FOOTER = {"end": {"entries": 0, "left_out": 0}}

# Entries that can't be moved.


def test_export_reports_a_corrupt_entry_and_exports_the_rest(store: Store, tmp_path: Path) -> None:
    store.set_many({"a": 1, "z": 2})
    store.driver.set(store.keyspace.full("bad"), b"{secret", None)
    file = tmp_path / "backup.jsonl"
    result = persist("export", str(file), "--json")
    assert result.code == 1
    assert result.json == {"entries": 2, "left_out": 1, "file": str(file)}
    assert "'bad' is corrupt" in result.err
    assert "secret" not in result.err
    store.clear()
    assert persist("import", str(file)).out == "2 entries stored in default.\n"


def test_copy_reports_a_corrupt_entry_and_copies_the_rest(
    open_store: OpenStore, server: str
) -> None:
    open_two(open_store, server, "memory")
    store = stores["default"]
    store.set_many({"a": 1, "z": 2})
    store.driver.set(store.keyspace.full("bad"), b"{secret", None)
    result = persist("copy", "default", "other")
    assert result.code == 1
    assert result.err == (
        "'bad': the value is not JSON that can be read.\n1 entry left out: see above.\n"
    )
    assert sorted(stores["other"].keys()) == ["a", "z"]


BAD = [
    (b'{"key":"k","value":"secret"', "is not valid JSON"),
    (b"\xff\xfe", "is not valid JSON"),
    (b'{"key":"k","value":"\xffsecret"}', "the value is not JSON"),
    (b'{"key":"k","value":' + b"[" * 4000 + b"]" * 4000 + b"}", "Line 3"),
    (b'{"key":"k","value":1e999}', "the value is not JSON"),
    (b'["secret"]', "is not an entry"),
    (b'{"key":"k"}', "is not an entry"),
    (b'{"key":1,"value":"secret"}', "is not an entry"),
    (b'{"key":"k","value":"secret","expires":5}', "is not an entry"),
    (b'{"key":"k","value":"secret","expires_at":5}', "is not an entry"),
    (b'{"key":"k","value":"secret","expires_at":"2126-01-01T00:00:00"}', "must be aware"),
    (b'{"key":"","value":"secret"}', "at least one character"),
    (b'{"key":"a\\u0000","value":"secret"}', "a NUL character"),
    (b'{"key":"' + b"x" * 256 + b'","value":"secret"}', "at most 255"),
    (b'{"key":"k","value":' + b"[" * 201 + b'"secret"' + b"]" * 201 + b"}", "can't be stored"),
    (b'{"key":"k","value":"' + b"secret" * 100 + b'"}', "bytes as JSON; the store takes 500"),
    (b'{"key":"k","value":"' + b"secret" * 9000 + b'"}', "is too long"),
    (b'{"django_persist":{"format":1}}', "is not an entry"),
]


@pytest.mark.parametrize("server", ["sqlite", "valkey"])
@pytest.mark.parametrize(("bad", "says"), BAD)
def test_invalid_lines_are_reported_by_number_and_the_rest_is_imported(
    open_store: OpenStore, server: str, bad: bytes, says: str
) -> None:
    store = open_store(server, MAX_VALUE_BYTES=500)
    result = persist("import", stdin=lines(entry("a", 1), bad, entry("b", 2)))
    assert result.code == 1
    assert result.out == "2 entries stored in default; 1 left out as invalid.\n"
    assert "Line 3" in result.err
    assert says in result.err
    assert "secret" not in result.err
    assert {key: item.value for key, item in store.items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize("server", ["sqlite"])
def test_a_name_that_occurs_twice_in_an_object_is_refused(store: Store) -> None:
    """Of two, only one would ever be read."""
    twice = b'{"key":"twice","value":[{"a":1e5,"secret":"x","\\u0073ecret":"y"}]}'
    data = lines(twice, b'{"key":"once","value":{"a":1e5,"b":{"a":12345678901234567890123}}}')
    result = persist("import", stdin=data)
    assert result.code == 1
    assert "Line 2, 'twice': an object in the value has a name twice.\n" in result.err
    assert "secret" not in result.err
    assert list(store.keys()) == ["once"]


@pytest.mark.parametrize("server", ["sqlite", "valkey"])
def test_spaces_around_a_stored_value_make_no_other_entry(store: Store, tmp_path: Path) -> None:
    """JSON that something else has stored may have them, but a line of an export doesn't."""
    driver = store.driver
    driver.set(store.keyspace.full("key"), b' {"a" : 1}\n', None)
    backup = str(tmp_path / "backup.jsonl")
    assert persist("export", backup).code == 0
    for _ in range(2):
        result = persist("import", backup)
        assert (result.code, result.out) == (0, "0 entries stored in default; 1 already there.\n")


@pytest.mark.parametrize("database", MYSQLS)
def test_value_too_large_for_the_server_does_not_stop_the_rest(
    database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_store.driver.sql, "packet", 50_000)  # type: ignore[attr-defined]
    data = lines(entry("a", 1), entry("big", "secret" * 10_000), entry("b", 2))
    for args in ((), ("--overwrite",)):
        result = persist("import", *args, stdin=data)
        assert result.code == 1
        assert "Line 3, 'big': The value takes" in result.err
        assert "secret" not in result.err
        assert sorted(database_store.keys()) == ["a", "b"]


def test_large_values_get_smaller_batches(store: Store) -> None:
    data = lines(*(entry(f"key:{n}", "x" * 400_000) for n in range(6)), entry("small", 1))
    assert persist("import", stdin=data).out == "7 entries stored in default.\n"
    assert store.count() == 7


# Incomplete files.


@pytest.mark.parametrize("server", ["sqlite"])
def test_import_refuses_a_truncated_file_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    fill(store, 50)
    file = tmp_path / "backup.jsonl"
    persist("export", str(file))
    complete = file.read_bytes()
    store.clear()
    starts = [0] + [i + 1 for i, byte in enumerate(complete) if byte == ord("\n")]
    # Cut at every line, in the middle of some, and within the last one.
    for end in {*starts[:-1], 3, 100, len(complete) - 3, len(complete) - 20}:
        file.write_bytes(complete[:end])
        result = persist("import", str(file))
        assert (result.code, result.out) == (1, ""), end
        assert "The last line of an export is missing" in result.err
    assert store.count() == 0
    file.write_bytes(complete[: starts[20] + 5])
    result = persist("import", str(file), "--partial")
    assert result.code == 1
    assert "Line 21 is not valid JSON" in result.err
    assert store.count() == 19
    file.write_bytes(complete[: starts[20]])
    assert persist("import", str(file), "--partial").code == 0


@pytest.mark.parametrize("server", ["sqlite"])
def test_import_reports_truncated_input_at_its_end(store: Store) -> None:
    complete = lines(entry("a", 1), entry("b", 2), entry("c", 3))
    result = persist("import", stdin=complete[: complete.index(b'{"end"')])
    assert result.code == 1
    assert result.out == "3 entries stored in default; not complete.\n"
    assert "The last line of an export is missing" in result.err
    assert persist("import", "--json", stdin=complete[:-8]).json["complete"] is False


@pytest.mark.parametrize("server", ["sqlite"])
def test_import_reports_missing_and_extra_lines(store: Store) -> None:
    complete = lines(*(entry(f"key:{n}", n) for n in range(5))).splitlines(keepends=True)
    result = persist("import", stdin=b"".join(complete[:3] + complete[4:]))
    assert result.code == 1
    assert "counts 5 entries, but there were 4" in result.err
    result = persist("import", stdin=b"".join(complete[2:]))
    assert (result.code, result.out) == (1, "")
    assert "The first line is not that of an export" in result.err
    result = persist("import", "--partial", stdin=b"".join(complete[4:]))
    assert result.code == 0
    result = persist("import", stdin=b"".join(complete + complete[2:4]))
    assert result.code == 1
    assert "Line 8 comes after the last line" in result.err
    assert persist("import", stdin=b"\n\n".join(complete)).code == 0


@pytest.mark.parametrize("server", ["sqlite"])
def test_import_refuses_other_files(store: Store, tmp_path: Path) -> None:
    assert "not that of an export" in persist("import", stdin=b"PK\x03\x04").err
    later = b'{"django_persist":{"format":2,"new":1}}\n' + json.dumps(FOOTER).encode()
    result = persist("import", stdin=later)
    assert (result.code, result.out) == (1, "")
    assert "has format 2, but this version reads format 1" in result.err
    assert persist("import", "--partial", stdin=later).code == 1
    result = persist("import", stdin=b"")
    assert (result.code, result.out) == (1, "0 entries stored in default; not complete.\n")
    result = persist("import", str(tmp_path / "none"))
    assert (result.code, result.err) == (1, f"{tmp_path / 'none'}: No such file or directory\n")
    assert persist("import", str(tmp_path)).code == 1


@pytest.mark.parametrize("server", ["memory"])
def test_empty_store_can_be_exported_and_imported(store: Store, tmp_path: Path) -> None:
    file = str(tmp_path / "empty")
    assert persist("export", file).out == f"0 entries of default exported to {file}.\n"
    assert persist("import", file) == (0, "0 entries stored in default.\n", "")


# The exported file.


@pytest.mark.parametrize("server", ["memory"])
def test_export_replaces_a_file_only_when_it_is_complete(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set("key", 1)
    file = tmp_path / "backup.jsonl"
    link = tmp_path / "link"
    link.symlink_to(file)
    assert persist("export", str(link)).code == 0
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()

    for error, code in (
        (StoreUnavailableError("Gone."), 3),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device"), 1),
    ):

        def items(prefix: str, error: BaseException = error) -> Any:
            yield from list(type(store.driver).items(store.driver, prefix))
            raise error

        monkeypatch.setattr(store.driver, "items", items)
        result = persist("export", str(file))
        assert (result.code, result.out) == (code, "")
        assert f"{file} was not changed." in result.err
        assert file.read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.jsonl", "link"]
        result = persist("export")
        assert result.code == code
        assert '"end"' not in result.out
        assert "The output, 1 entry, is not a complete export." in result.err


@pytest.mark.parametrize("server", ["memory"])
def test_export_reports_a_file_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    result = persist("export", str(tmp_path / "none" / "file"))
    assert result.code == 1
    assert "No such file or directory" in result.err
    assert persist("export", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()
    assert Path("/dev/null").exists()


# Progress and messages.


def test_transfers_show_progress_only_on_a_terminal(open_store: OpenStore, tmp_path: Path) -> None:
    open_two(open_store, "sqlite", "memory")
    fill(stores["default"], 1500)
    file = str(tmp_path / "backup.jsonl")
    for args, says in (
        (("export", file), "default: 0 of about 1,500 exported"),
        (("import", file, "--store=other"), " %, 1,000 stored"),
        (("copy", "default", "other", "--overwrite"), "other: 1,000 of about 1,500 stored"),
    ):
        shown = Terminal()
        result = persist(*args, stderr=shown)
        assert result.code == 0
        assert says in shown.getvalue()
        assert shown.getvalue().endswith(" \r")
        assert persist(*args).err == ""


@pytest.mark.parametrize("server", ["memory"])
def test_export_to_stdout_writes_nothing_else_there(store: Store) -> None:
    store.set("key", 1)
    assert persist("export").err == ""
    result = persist("export", "--json")
    assert json.loads(result.err) == {"entries": 1, "left_out": 0, "file": None}
    assert len(result.out.splitlines()) == 3
    assert "1 entry of default exported." in persist("export", stderr=Terminal()).err
