"""keys, clear and stats: a store as a whole."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Hashable, Iterator
from typing import Any, ClassVar

from django.core.management.base import CommandError

from ...codec.text import to_text
from ...exceptions import ContentionError, StoreUnavailableError
from ...handler import stores
from ..command import FAILED, STOPPED, plural
from .base import Subcommand


def _add_prefix(parser: ArgumentParser) -> None:
    parser.add_argument(
        "prefix", metavar="PREFIX", nargs="?", default="", help="only keys that begin with it"
    )


class Keys(Subcommand):
    """List the keys of the live entries, one in a line.

    A key that has control characters, or begins with a quote, is printed as a JSON string: so a
    line that begins with a quote is always one, and no key takes two lines.

    Examples:
      manage.py persist keys
      manage.py persist keys cart: --store hot
      manage.py persist keys --json                       each as a JSON string
      manage.py persist keys cart: -0 | xargs -0 manage.py persist remove --
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        _add_prefix(parser)
        super().add_arguments(parser)
        parser.add_argument(
            "-0",
            "--null",
            action="store_true",
            help="print each key as it is, and a NUL, which no key has, after it",
        )

    def run(self) -> None:
        write = self.command.emit
        for key in self.store.keys(self.options["prefix"]):
            if self.options["null"]:
                write(key.encode() + b"\0")
            elif self.json:
                write(to_text(key) + b"\n")
            else:
                write(line(key).encode() + b"\n")


def line(key: str) -> str:
    """Return a key as it can stand in a line, on a terminal too."""
    return json.dumps(key) if key.startswith('"') or not key.isprintable() else key


class Clear(Subcommand):
    """Delete the entries of a store, or those whose keys begin with PREFIX.

    It says how many there are, and asks. Other entries in the same place stay.

    Examples:
      manage.py persist clear cart:
      manage.py persist clear --store scratch --no-input
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        _add_prefix(parser)
        super().add_arguments(parser)
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="don't ask",
        )

    def run(self) -> None:
        prefix = self.options["prefix"]
        if self.options["interactive"] and (number := self.store.count(prefix)):
            where = f" whose keys begin with {prefix!r}" if prefix else ""
            self._ask(f"Delete {plural(number)} of {self.alias}{where}?")
        self._clear(prefix)

    def _ask(self, question: str) -> None:
        stderr = self.command.stderr
        stderr.write(f"{question} [y/N] ", style_func=str, ending="")
        stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was deleted.", returncode=FAILED)

    def _clear(self, prefix: str) -> None:
        deleted = 0
        try:
            for number in self.store.keyspace.clear_steps(prefix):
                deleted += number
                self.command.progress(f"{self.alias}: {plural(deleted)} deleted")
        except (StoreUnavailableError, ContentionError) as error:
            self._say(deleted, complete=False)
            self.command.fail(error)
        except KeyboardInterrupt:
            self._say(deleted, complete=False)
            raise CommandError(
                "Stopped; the step under way may have deleted up to 1,000 more.",
                returncode=STOPPED,
            ) from None
        self._say(deleted, complete=True)

    def _say(self, deleted: int, *, complete: bool) -> None:
        if self.json:
            self.command.say_json({"deleted": deleted, "complete": complete})
        else:
            so_far = "" if complete else " so far"
            self.command.say(f"{plural(deleted)} deleted from {self.alias}{so_far}.")


class Stats(Subcommand):
    """Say of each store where it is and how many entries it has.

    Entries are counted one by one, on Redis by going over all keys. What has expired and was not
    yet purged, and the bytes, are those of all that is kept in the same place; Redis has nothing
    expired, and neither it nor SQLite says at once how many bytes there are.

    Examples:
      manage.py persist stats
      manage.py persist stats --store hot --json
    """

    takes_store: ClassVar[bool] = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--store", metavar="ALIAS", help="this store, not all of them")
        super().add_arguments(parser)

    def run(self) -> None:
        alias = self.options["store"]
        failure: Exception | None = None
        found: dict[str, dict[str, Any]] = {}
        for each in stores if alias is None else [alias]:
            driver = stores[each].driver
            facts = found[each] = {
                "driver": f"{type(driver).__module__}.{type(driver).__qualname__}",
                "place": place_name(stores[each].place().location),
                "prefix": stores[each].keyspace.prefix,
            }
            try:
                facts |= {"entries": stores[each].count(), "expired": driver.expired()}
                facts["bytes"] = driver.size()
            except StoreUnavailableError as error:
                facts["error"] = str(error)
                failure = failure or error
            if not self.json:
                self._say(each, facts)
        if self.json:
            self.command.say_json(found)
        if failure is not None:
            self.command.fail(failure)

    def _say(self, alias: str, facts: dict[str, Any]) -> None:
        self.command.say(alias)
        for name, fact in facts.items():
            if fact is not None and fact != "":
                shown = f"{fact:,}" if isinstance(fact, int) else fact
                self.command.say(f"  {name:<8} {shown}")


def place_name(home: Hashable) -> str:
    """Return a place of a driver in words."""

    def words(part: Hashable) -> Iterator[str]:
        if isinstance(part, tuple | frozenset):
            parts = part if isinstance(part, tuple) else sorted(part, key=str)
            for each in parts:
                yield from words(each)
        elif part != "":
            yield str(part)

    return " ".join(words(home))
