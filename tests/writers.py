"""Processes that write all the time, and report the result of each write before the next."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from django.db import connections

from django_persist import Store, persist
from django_persist.exceptions import DuplicateKeyError, StoreUnavailableError
from tests.processes import Place, context, enter, place

WRITERS = 3


class Report(NamedTuple):
    """A write, and whether it was applied: True, False, or None if that is uncertain.

    A "claim" is a create that every process tries, so it is also False where another was faster.
    """

    call: str
    key: str
    value: int
    done: bool | None


def _write(call: str, key: str, value: int) -> None:
    if call in ("create", "claim"):
        persist.create(key, value)
    elif call == "set":
        persist.set(key, value)
    elif call == "remove":
        persist.remove(key)
    elif call == "set_many":
        persist.set_many({f"{key}:{n}": value for n in range(3)})
    elif call == "update":
        persist.update(key, lambda total: total + 1, 0)
    else:
        persist.incr(key)


def _calls(i: int) -> Iterator[tuple[str, str, int]]:
    n = 0
    while True:
        n += 1
        yield "create", f"{i}:created:{n}", n
        yield "set", f"{i}:set", n
        yield "incr", f"{i}:counter", n
        yield "incr", "counter", n
        yield "update", "updated", n
        yield "claim", f"claimed:{n}", 1_000_000 * i + n
        yield "set_many", f"{i}:many", n
        yield "create", f"{i}:removed:{n}", n
        yield "remove", f"{i}:removed:{n}", n


def _start_request() -> None:
    """Do with persistent connections what Django does at the start of a request."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_if_unusable_or_obsolete()


def _write_on(where: Place, i: int, report: Connection) -> None:
    """Write until the other end of `report` sends something."""
    enter(where)
    for call in _calls(i):
        _start_request()
        report.send(Report(*call, None))
        done: bool | None = True
        try:
            _write(*call)
        except StoreUnavailableError as error:
            done = None if error.maybe_applied else False
            time.sleep(0.01)
        except DuplicateKeyError:
            assert call[0] == "claim", call
            done = False
        report.send(Report(*call, done))
        if report.poll():
            return


@dataclass
class Writers:
    """The writing processes, and the writes that they have reported so far."""

    lines: dict[Connection, Any]
    """The process at the other end of each connection."""

    reports: list[Report] = field(default_factory=list)
    begun: dict[Connection, Report] = field(default_factory=dict)

    def read(self, until: int, *, applied: bool = True) -> None:
        """Read until every process has reported `until` more writes that were applied, or not."""
        left = Counter(dict.fromkeys(self.lines, until))
        deadline = time.monotonic() + 60
        while +left:
            assert time.monotonic() < deadline, "a process does not go on"
            for line in wait(list(self.lines), 1):
                assert isinstance(line, Connection)
                left[line] -= self._read(line) is applied

    def _read(self, line: Connection) -> bool | None:
        """Read one report; return whether its write was applied, or None where it only begins.

        Also None for a claim that wasn't applied: another process may have been faster.
        """
        report: Report = line.recv()
        if line not in self.begun:
            self.begun[line] = report
            return None
        del self.begun[line]
        self.reports.append(report)
        return None if report.call == "claim" and not report.done else report.done is True

    def stop(self) -> None:
        """Let each process finish its current write and end; read the remaining reports."""
        for line in self.lines:
            line.send("enough")
        assert self._read_out() == {0}

    def kill(self) -> None:
        """Kill the processes while they write; read the remaining reports."""
        for process in self.lines.values():
            process.kill()
        assert self._read_out() == {-signal.SIGKILL}

    def _read_out(self) -> set[int]:
        """Read the remaining reports; return the exit codes of the processes."""
        for line, process in self.lines.items():
            with suppress(EOFError, OSError):  # It has ended, maybe within a report.
                while True:
                    self._read(line)
            process.join(30)
        self.reports += self.begun.values()
        return {process.exitcode for process in self.lines.values()}

    def assert_kept(self, store: Store) -> None:
        """Assert that the store has what was applied, and nothing that wasn't."""
        there = {key: item.value for key, item in store.items()}
        sets: dict[str, list[Report]] = {}
        sums: dict[str, list[Report]] = {}
        claims: dict[str, list[Report]] = {}
        for report in self.reports:
            if report.call == "create" and ":removed:" not in report.key:
                assert report.done is None or (report.key in there) is report.done, report
            elif report.call == "remove" and report.done is True:
                assert report.key not in there, report
            elif report.call == "set":
                sets.setdefault(report.key, []).append(report)
            elif report.call == "set_many":
                for n in range(3):
                    sets.setdefault(f"{report.key}:{n}", []).append(report)
            elif report.call in ("incr", "update"):
                sums.setdefault(report.key, []).append(report)
            elif report.call == "claim":
                claims.setdefault(report.key, []).append(report)
        for key, writes in sets.items():
            # The last write that was applied, or a later one that is uncertain.
            last = max((n for n, report in enumerate(writes) if report.done), default=0)
            assert there.get(key) in [
                report.value for report in writes[last:] if report.done is not False
            ], key
        for key, adds in sums.items():
            least = sum(report.done is True for report in adds)
            most = sum(report.done is not False for report in adds)
            assert least <= there.get(key, 0) <= most, key
        for key, tries in claims.items():
            winners = [report.value for report in tries if report.done]
            uncertain = [report.value for report in tries if report.done is None]
            assert len(winners) <= 1, key
            # If no process knows that it won, one of the uncertain may have.
            possible = winners or uncertain
            assert there[key] in possible if key in there else not winners, key


@contextmanager
def writing(processes: int = WRITERS) -> Iterator[Writers]:
    """Start processes that write to the default store; end them after the block."""
    lines = {}
    for i in range(processes):
        ours, theirs = context.Pipe()
        lines[ours] = context.Process(target=_write_on, args=(place(), i, theirs), daemon=True)
        lines[ours].start()
        theirs.close()
    try:
        yield Writers(lines)
    finally:
        for line, process in lines.items():
            process.kill()
            process.join(30)
            line.close()
