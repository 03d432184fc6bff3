"""Processes that go on writing, and tell what they were told of each write before the next."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from django_persist import Store, persist
from django_persist.exceptions import StoreUnavailableError
from tests.processes import Place, context, enter, place

WRITERS = 3


class Told(NamedTuple):
    """A write, and whether it was done, not done, or (None) may have been."""

    call: str
    key: str
    value: int
    done: bool | None


def _write(call: str, key: str, value: int) -> None:
    if call == "create":
        persist.create(key, value)
    elif call == "set":
        persist.set(key, value)
    elif call == "remove":
        persist.remove(key)
    elif call == "set_many":
        persist.set_many({f"{key}:{n}": value for n in range(3)})
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
        yield "set_many", f"{i}:many", n
        yield "create", f"{i}:removed:{n}", n
        yield "remove", f"{i}:removed:{n}", n


def _write_on(where: Place, i: int, report: Connection) -> None:
    """Write until the other end says that it is enough."""
    enter(where)
    for call in _calls(i):
        report.send(Told(*call, None))
        done: bool | None = True
        try:
            _write(*call)
        except StoreUnavailableError as error:
            done = None if error.maybe_applied else False
            time.sleep(0.01)
        report.send(Told(*call, done))
        if report.poll():
            return


@dataclass
class Writers:
    """What the processes were told until now."""

    lines: dict[Connection, Any]
    """The process at the other end of each."""

    told: list[Told] = field(default_factory=list)
    begun: dict[Connection, Told] = field(default_factory=dict)

    def read(self, until: int) -> None:
        """Read on until every process has told of that many more writes that were done."""
        left = Counter(dict.fromkeys(self.lines, until))
        deadline = time.monotonic() + 60
        while +left:
            assert time.monotonic() < deadline, "a process does not go on"
            for line in wait(list(self.lines), 1):
                assert isinstance(line, Connection)
                left[line] -= self._read(line)

    def _read(self, line: Connection) -> bool:
        """Read on; return whether it was of a write that was done."""
        told: Told = line.recv()
        if line in self.begun:
            del self.begun[line]
            self.told.append(told)
            return told.done is True
        self.begun[line] = told
        return False

    def stop(self) -> None:
        """Have them end after the write that they are at, and read what they still tell."""
        for line in self.lines:
            line.send("enough")
        assert self._read_out() == {0}

    def kill(self) -> None:
        """Kill them in full flight, and read what they have told."""
        for process in self.lines.values():
            process.kill()
        assert self._read_out() == {-signal.SIGKILL}

    def _read_out(self) -> set[int]:
        """Read all that is left; return how the processes ended."""
        for line, process in self.lines.items():
            with suppress(EOFError, OSError):  # It has ended, maybe in the middle of a message.
                while True:
                    self._read(line)
            process.join(30)
        self.told += self.begun.values()
        return {process.exitcode for process in self.lines.values()}

    def assert_kept(self, store: Store) -> None:
        """What was done is there, and what was not is not."""
        there = {key: item.value for key, item in store.items()}
        sets: dict[str, list[Told]] = {}
        sums: dict[str, list[Told]] = {}
        for told in self.told:
            if told.call == "create" and ":removed:" not in told.key:
                assert told.done is None or (told.key in there) is told.done, told
            elif told.call == "remove" and told.done is True:
                assert told.key not in there, told
            elif told.call == "set":
                sets.setdefault(told.key, []).append(told)
            elif told.call == "set_many":
                for n in range(3):
                    sets.setdefault(f"{told.key}:{n}", []).append(told)
            elif told.call == "incr":
                sums.setdefault(told.key, []).append(told)
        for key, writes in sets.items():
            # The last one that was done, or one that may have been after it.
            last = max((n for n, told in enumerate(writes) if told.done), default=0)
            assert there.get(key) in [
                told.value for told in writes[last:] if told.done is not False
            ], key
        for key, adds in sums.items():
            least = sum(told.done is True for told in adds)
            most = sum(told.done is not False for told in adds)
            assert least <= there.get(key, 0) <= most, key


@contextmanager
def writing() -> Iterator[Writers]:
    """Processes that write to the default store from here on."""
    lines = {}
    for i in range(WRITERS):
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
