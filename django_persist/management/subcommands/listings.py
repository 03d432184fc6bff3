"""The subcommands for whole stores: keys, clear and stats."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import CommandError

from ...codec import to_text
from ...handler import stores
from ...purging import server_errors
from .. import stats
from ..command import FAILED, STOPPED, describe_error, plural, reported_errors, stdin
from .base import Subcommand, add_prefix_argument


class Keys(Subcommand):
    """List the keys of the live entries, one per line.

    A key that has control characters or begins with a double quote is printed as a JSON string. So
    a line that begins with a double quote is always JSON, and no key takes two lines.

    Examples:
      manage.py persist keys
      manage.py persist keys cart: --store hot
      manage.py persist keys --json                       every key as a JSON string
      manage.py persist keys cart: -0 | xargs -0 manage.py persist remove --
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        add_prefix_argument(parser, "prefix")
        super().add_arguments(parser)
        parser.add_argument(
            "-0",
            "--null",
            action="store_true",
            help="Print every key unchanged and end it with a NUL, which no key contains.",
        )

    def run(self) -> None:
        write = self.command.write_bytes
        for key in self.store.keys(self.options["prefix"]):
            if self.options["null"]:
                write(key.encode() + b"\0")
            elif self.json:
                write(to_text(key) + b"\n")
            else:
                write(printable(key).encode() + b"\n")


def printable(key: str) -> str:
    """Return a key in a form that takes one line and can't change the state of a terminal."""
    return json.dumps(key) if key.startswith('"') or not key.isprintable() else key


class Clear(Subcommand):
    """Delete the entries of a store, or only those whose keys begin with PREFIX.

    The number of entries is shown and has to be confirmed first. Other stores in the same place
    keep their entries.

    Examples:
      manage.py persist clear cart:
      manage.py persist clear --store scratch --no-input
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        add_prefix_argument(parser, "prefix")
        super().add_arguments(parser)
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do NOT prompt for confirmation.",
        )

    def run(self) -> None:
        prefix = self.options["prefix"]
        if self.options["interactive"] and (number := self.store.count(prefix)):
            keys = f" whose keys begin with {prefix!r}" if prefix else ""
            self._confirm(f"Delete {plural(number)} of {self.alias}{keys}?")
        self._clear(prefix)

    def _confirm(self, question: str) -> None:
        stderr = self.command.stderr
        stderr.write(f"{question} [y/N] ", style_func=str, ending="")
        stderr.flush()
        if stdin().readline().strip().lower() not in (b"y", b"yes"):
            raise CommandError("Nothing was deleted.", returncode=FAILED)

    def _clear(self, prefix: str) -> None:
        deleted = 0
        try:
            for number in self.store.keyspace.clear_steps(prefix):
                deleted += number
                self.command.show_progress(f"{self.alias}: {plural(deleted)} deleted")
        except reported_errors() as error:
            self._report(deleted, complete=False)
            self.command.fail(error)
        except KeyboardInterrupt:
            self._report(deleted, complete=False)
            raise CommandError(
                "Stopped. The last step may have deleted up to 1,000 more.", returncode=STOPPED
            ) from None
        self._report(deleted, complete=True)

    def _report(self, deleted: int, *, complete: bool) -> None:
        if self.json:
            self.command.write_json({"deleted": deleted, "complete": complete})
        else:
            so_far = "" if complete else " so far"
            self.command.write_line(f"{plural(deleted)} deleted from {self.alias}{so_far}.")


class Stats(Subcommand):
    """Show where each store keeps its entries and how many it has.

    Live entries are counted one by one; on Redis that takes a scan of all keys. The expired entries
    and the bytes are those of the whole place, which stores may share. Redis never has expired
    entries. Only PostgreSQL, MariaDB and MySQL know their size in bytes.

    Examples:
      manage.py persist stats
      manage.py persist stats --store hot --json
    """

    takes_store: ClassVar[bool] = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--store", metavar="ALIAS", help="Show only this store. Defaults to all stores."
        )
        super().add_arguments(parser)

    def run(self) -> None:
        chosen = self.options["store"]
        errors: dict[str, Exception] = {}
        found: dict[str, dict[str, Any]] = {}
        for alias in stores if chosen is None else [chosen]:
            facts = found[alias] = stats.describe(stores[alias])
            try:
                facts.update(stats.count(stores[alias]))
            except server_errors() as error:
                errors[alias], facts["error"] = error, describe_error(error)[0]
            if not self.json:
                self._show(alias, facts)
        if self.json:
            self.command.write_json(found)
        if errors:
            self.command.fail_at_stores(errors)

    def _show(self, alias: str, facts: dict[str, Any]) -> None:
        self.command.write_line(alias)
        for name, fact in facts.items():
            if fact is not None and fact != "":
                shown = f"{fact:,}" if isinstance(fact, int) else fact
                self.command.write_line(f"  {name:<8} {shown}")
