"""export, import and copy: entries from store to store, streamed."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

from django.core.management.base import CommandError

from ...codec.text import to_text
from ...exceptions import PersistError
from ...export_format import NotAnExportError, check_end, dump, load
from ...handler import stores
from ...store import Store
from ...transfer import Entry, Existing, Tally, Transfer, entries
from ..command import FAILED, STOPPED, USAGE, plural
from ..files import replacing
from .base import Subcommand

EVERY: Final = 100
"""After how many lines of an export the progress is shown."""

COUNTS: Final = {
    "stored": "stored",
    "unchanged": "there already",
    "skipped": "skipped, as their keys have entries",
    "differing": "left out, as their keys have other entries",
    "expired": "expired meanwhile",
    "refused": "left out as unfit",
}
"""How a person reads the counts of a Tally."""


class Export(Subcommand):
    """Write the live entries of a store to FILE, or to stdout, as JSON lines with their expiries.

    FILE is replaced once all is written, and only its owner can read it. A corrupt entry is told
    and left out; the exit code is then 1.

    Examples:
      manage.py persist export backup.jsonl
      manage.py persist export --store hot --prefix cart: carts.jsonl
      manage.py persist export - | gzip > backup.jsonl.gz
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", nargs="?", default="-", help="- is stdout (default: -)"
        )
        super().add_arguments(parser)
        _add_prefix(parser)

    def run(self) -> None:
        self.path = self.options["file"]
        self.tally = Tally(self.command.tell)
        try:
            if self.path == "-":
                self._write(self.command.emit)
                self.command.stdout.flush()
            else:
                with replacing(Path(self.path)) as file:
                    self._write(file.write)
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {self._unfinished()}", returncode=STOPPED) from None
        except (PersistError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            self.command.fail(error, self._unfinished())
        self._say()
        if self.tally.refused:
            raise CommandError(
                f"{plural(self.tally.refused)} left out as corrupt: see above.", returncode=FAILED
            )

    def _write(self, write: Callable[[bytes], Any]) -> None:
        store, prefix, alias = self.store, self.options["prefix"], self.alias
        total = _total(self, store, prefix)
        for number, line in enumerate(dump(entries(store, prefix), self.tally)):
            write(line)
            if number % EVERY == 0:
                self.command.progress(f"{alias}: {self.tally.stored:,}{total} exported")

    def _unfinished(self) -> str:
        if self.path == "-":
            return f"What was written, {plural(self.tally.stored)}, is no whole export."
        return f"{self.path} is as it was."

    def _say(self) -> None:
        tally = self.tally
        file = None if self.path == "-" else self.path
        facts = {"entries": tally.stored, "left_out": tally.refused, "file": file}
        if file is not None:
            if self.json:
                self.command.say_json(facts)
            else:
                self.command.say(f"{plural(tally.stored)} of {self.alias} exported to {file}.")
        elif self.json or self.command.shows_progress():
            # stdout is the export itself.
            text = f"{plural(tally.stored)} of {self.alias} exported."
            self.command.tell(to_text(facts).decode() if self.json else text)


class Storing(Subcommand):
    """What import and copy have in common: they store, and say what became of each entry."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--overwrite",
            action="store_const",
            const=Existing.OVERWRITE,
            default=Existing.TELL,
            dest="existing",
            help="store over entries that are there",
        )
        either.add_argument(
            "--skip-existing",
            action="store_const",
            const=Existing.SKIP,
            dest="existing",
            help="leave entries that are there as they are, whatever they hold",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="compare and count; store nothing"
        )

    def store_all(
        self, target: Store, alias: str, source: Iterable[Entry], tally: Tally, progress: Any
    ) -> None:
        """Store entries and say what became of them; raise CommandError unless all is well."""
        transfer = Transfer(
            target, tally, self.options["existing"], dry_run=self.options["dry_run"]
        )
        try:
            for _ in transfer.run(source):
                self.command.progress(f"{alias}: {progress()}")
        except NotAnExportError:
            raise
        except BaseException as error:
            self._say(alias, tally, complete=False)
            if isinstance(error, KeyboardInterrupt):
                raise CommandError("Stopped; the same again goes on.", returncode=STOPPED) from None
            if isinstance(error, PersistError):
                self.command.fail(error, "The same again goes on.")
            raise
        self._say(alias, tally, complete=tally.fault is None)
        left_out = tally.differing + tally.refused
        told = f"{plural(left_out)} left out: see above." if left_out else ""
        if tally.fault or told:
            raise CommandError(f"{tally.fault or ''} {told}".strip(), returncode=FAILED)

    def _say(self, alias: str, tally: Tally, *, complete: bool) -> None:
        counts = {name: getattr(tally, name) for name in (*COUNTS, "uncertain")}
        dry_run = self.options["dry_run"]
        if self.json:
            self.command.say_json({**counts, "dry_run": dry_run, "complete": complete})
            return
        would = "would be " if dry_run else ""
        parts = [f"{plural(tally.stored)} {would}stored in {alias}"]
        parts += [f"{counts[name]:,} {said}" for name, said in COUNTS.items() if counts[name]][
            bool(tally.stored) :
        ]
        if tally.uncertain:
            parts.append(f"up to {tally.uncertain:,} more may have been")
        self.command.say("; ".join(parts) + ("." if complete else "; not all was done."))


class Import(Storing):
    """Store what `export` wrote in FILE, or what comes from stdin.

    An entry whose key has a live entry in the store is left out: where the same is there, value and
    expiry, it counts as there already; where not, it is told, and the exit code is 1. So the same
    import can be run again, and goes on where the last one was stopped. --overwrite and
    --skip-existing do otherwise. An entry whose lifetime has ended is skipped and counted.

    A line that is no entry, or none that the store takes, is told by its number and left out; the
    exit code is then 1. A FILE without its last line was cut off and is refused, unless with
    --partial; on stdin that shows at the end only, and then the exit code is 1.

    Examples:
      manage.py persist import backup.jsonl --store hot
      manage.py persist import backup.jsonl --dry-run     what would be stored, what differs
      gunzip -c backup.jsonl.gz | manage.py persist import -
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", nargs="?", default="-", help="- is stdin (default: -)"
        )
        super().add_arguments(parser)
        parser.add_argument(
            "--partial",
            action="store_true",
            help="take the lines of a file that lacks its first or its last one",
        )

    def run(self) -> None:
        path = self.options["file"]
        if path == "-":
            self._load(sys.stdin.buffer, 0)
            return
        with Path(path).open("rb") as file:
            size = 0
            if file.seekable() and Path(path).is_file():
                size = Path(path).stat().st_size
                if not self.options["partial"]:
                    check_end(file)
            self._load(file, size)

    def _load(self, file: BinaryIO, size: int) -> None:
        tally, store = Tally(self.command.tell), self.store
        source = load(
            file, tally, longest=store.keyspace.max_value_bytes, partial=self.options["partial"]
        )

        def progress() -> str:
            read = f"{100 * file.tell() // size} %, " if size else ""
            return f"{read}{tally.stored:,} stored"

        self.store_all(store, self.alias, source, tally, progress)


class Copy(Storing):
    """Copy the live entries of the store FROM into the store TO, with their expiries.

    Keys are the same in both, each under the PREFIX of its store. What is in TO already is dealt
    with as by `import`: the same counts as there already, something else is told and left as it is,
    and the same again goes on where the last one was stopped. Nothing is deleted, neither in FROM
    nor in TO. What others write meanwhile may be copied or not.

    Examples:
      manage.py persist copy default hot
      manage.py persist copy default hot --prefix cart: --overwrite
      manage.py persist copy default hot --dry-run        0 would be stored: all is there
    """

    takes_store: ClassVar[bool] = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("source", metavar="FROM", help="an alias in PERSIST")
        parser.add_argument("target", metavar="TO", help="another one")
        super().add_arguments(parser)
        _add_prefix(parser)

    def run(self) -> None:
        prefix, alias = self.options["prefix"], self.options["target"]
        source, target = stores[self.options["source"]], stores[alias]
        if source is target:
            raise CommandError("FROM and TO are one store.", returncode=USAGE)
        tally = Tally(self.command.tell)
        total = _total(self, source, prefix)

        def progress() -> str:
            return f"{tally.stored:,}{total} stored"

        self.store_all(target, alias, entries(source, prefix), tally, progress)


def _add_prefix(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--prefix", default="", metavar="PREFIX", help="only entries whose keys begin with it"
    )


def _total(subcommand: Subcommand, store: Store, prefix: str) -> str:
    """Return how many entries the progress is to end with; where nobody looks none are counted."""
    if not subcommand.command.shows_progress():
        return ""
    return f" of about {store.count(prefix):,}"
