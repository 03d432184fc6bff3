"""The subcommands that move entries: export, import and copy."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

from django.core.management.base import CommandError

from ...codec import to_text
from ...export_format import NotAnExportError, check_end, dump, load
from ...store import Store
from ...transfer import OnConflict, Record, Tally, Transfer, read
from ..command import FAILED, STOPPED, USAGE, plural, positive_int, reported_errors, stdin
from ..files import write_atomically
from .base import Subcommand, add_prefix_argument

PROGRESS_LINES: Final = 100
"""After how many lines of an export the progress is updated."""

COUNT_LABELS: Final = {
    "stored": "stored",
    "unchanged": "already there",
    "skipped": "skipped because their keys have entries",
    "differing": "left out because their keys have different entries",
    "expired": "expired in the meantime",
    "refused": "left out as invalid",
}
"""The counts of a Tally as they are printed."""

CONTINUE: Final = "Run the same command again to continue."


class Export(Subcommand):
    """Write the live entries of a store, with their expiries, to FILE or stdout as JSON lines.

    FILE is replaced after everything has been written, and only its owner can read it. A corrupt
    entry is reported and left out; the exit code is then 1.

    Examples:
      manage.py persist export backup.jsonl
      manage.py persist export --store hot --prefix cart: carts.jsonl
      manage.py persist export - | gzip > backup.jsonl.gz
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default="-",
            help="The file to write, or - for stdout. Defaults to -.",
        )
        super().add_arguments(parser)
        add_prefix_argument(parser)

    def run(self) -> None:
        self.path = self.options["file"]
        self.tally = Tally(self.command.write_error)
        try:
            if self.path == "-":
                self._write(self.command.write_bytes)
                self.command.stdout.flush()
            else:
                with write_atomically(Path(self.path)) as file:
                    self._write(file.write)
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {self._unfinished()}", returncode=STOPPED) from None
        except reported_errors() as error:
            if isinstance(error, BrokenPipeError):
                raise
            self.command.fail(error, self._unfinished())
        self._report()
        if self.tally.refused:
            raise CommandError(
                f"{plural(self.tally.refused)} left out as corrupt: see above.", returncode=FAILED
            )

    def _write(self, write: Callable[[bytes], Any]) -> None:
        store, prefix, alias = self.store, self.options["prefix"], self.alias
        total = _of_total(self, store, prefix)
        for number, line in enumerate(dump(read(store.keyspace, prefix), self.tally)):
            write(line)
            if number % PROGRESS_LINES == 0:
                self.command.show_progress(f"{alias}: {self.tally.stored:,}{total} exported")

    def _unfinished(self) -> str:
        if self.path == "-":
            return f"The output, {plural(self.tally.stored)}, is not a complete export."
        return f"{self.path} was not changed."

    def _report(self) -> None:
        tally = self.tally
        file = None if self.path == "-" else self.path
        counts = {"entries": tally.stored, "left_out": tally.refused, "file": file}
        if file is not None:
            if self.json:
                self.command.write_json(counts)
            else:
                self.command.write_line(
                    f"{plural(tally.stored)} of {self.alias} exported to {file}."
                )
        elif self.json or self.command.shows_progress():
            # stdout has the export itself.
            text = f"{plural(tally.stored)} of {self.alias} exported."
            self.command.write_error(to_text(counts).decode() if self.json else text)


class StoringSubcommand(Subcommand):
    """What import and copy share: they store records and report what happened to them."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--overwrite",
            action="store_const",
            const=OnConflict.OVERWRITE,
            default=OnConflict.REPORT,
            dest="on_conflict",
            help="Overwrite existing entries.",
        )
        either.add_argument(
            "--skip-existing",
            action="store_const",
            const=OnConflict.SKIP,
            dest="on_conflict",
            help="Keep existing entries, whatever they contain.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Compare and count without storing anything."
        )

    def store_all(
        self,
        target: Store,
        alias: str,
        records: Iterable[Record],
        tally: Tally,
        progress: Callable[[], str],
    ) -> None:
        """Store the records and report their counts. Raises CommandError if any was left out."""
        transfer = Transfer(
            target.keyspace,
            tally,
            self.options["on_conflict"],
            dry_run=self.options["dry_run"],
        )
        try:
            for _ in transfer.run(records):
                self.command.show_progress(f"{alias}: {progress()}")
        except NotAnExportError:
            raise
        except BaseException as error:
            self._report(alias, tally, complete=False)
            if isinstance(error, KeyboardInterrupt):
                raise CommandError(f"Stopped. {CONTINUE}", returncode=STOPPED) from None
            if isinstance(error, reported_errors()):
                self.command.fail(error, CONTINUE)
            raise
        self._report(alias, tally, complete=tally.fault is None)
        left_out = tally.differing + tally.refused
        note = f"{plural(left_out)} left out: see above." if left_out else ""
        if tally.fault or note:
            raise CommandError(f"{tally.fault or ''} {note}".strip(), returncode=FAILED)

    def _report(self, alias: str, tally: Tally, *, complete: bool) -> None:
        counts = {name: getattr(tally, name) for name in (*COUNT_LABELS, "uncertain")}
        dry_run = self.options["dry_run"]
        if self.json:
            self.command.write_json({**counts, "dry_run": dry_run, "complete": complete})
            return
        would = "would be " if dry_run else ""
        parts = [f"{plural(tally.stored)} {would}stored in {alias}"]
        parts += [
            f"{counts[name]:,} {label}"
            for name, label in COUNT_LABELS.items()
            if counts[name] and name != "stored"
        ]
        if tally.uncertain:
            parts.append(f"up to {tally.uncertain:,} more may have been stored")
        self.command.write_line("; ".join(parts) + ("." if complete else "; not complete."))


MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
"""The default bound of an import. A line of 300 MB takes more than a gigabyte."""


class Import(StoringSubcommand):
    """Store the entries that `export` wrote to FILE, or those read from stdin.

    If a key already has a live entry, that entry is kept. One with the same value and expiry counts
    as already there; any other is reported, and the exit code is 1. So an import that was stopped
    can be continued by running it again. --overwrite and --skip-existing change this. An entry that
    has expired in the meantime is skipped and counted.

    A line that is not an entry, or that the store doesn't take, is reported by its number and left
    out; the exit code is then 1. A FILE without its last line was cut off and is refused, unless
    --partial is given. On stdin that is known only at the end; the exit code is then 1.

    Examples:
      manage.py persist import backup.jsonl --store hot
      manage.py persist import backup.jsonl --dry-run     what would be stored, what differs
      gunzip -c backup.jsonl.gz | manage.py persist import -
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default="-",
            help="The file to read, or - for stdin. Defaults to -.",
        )
        super().add_arguments(parser)
        parser.add_argument(
            "--partial",
            action="store_true",
            help="Accept a file whose first or last line is missing.",
        )
        parser.add_argument(
            "--max-value-bytes",
            type=positive_int,
            default=MAX_VALUE_BYTES,
            metavar="N",
            help="Leave out values longer than N bytes: one takes several times as much memory. "
            "Defaults to %(default)s.",
        )

    def run(self) -> None:
        path = self.options["file"]
        if path == "-":
            self._load(stdin(), 0)
            return
        with Path(path).open("rb") as file:
            size = 0
            if file.seekable() and Path(path).is_file():
                size = Path(path).stat().st_size
                if not self.options["partial"]:
                    check_end(file)
            self._load(file, size)

    def _load(self, file: BinaryIO, size: int) -> None:
        """Import a file. `size` is its length in bytes, or 0 if that is not known."""
        tally, store = Tally(self.command.write_error), self.store
        records = load(
            file,
            tally,
            max_value_bytes=min(store.keyspace.max_value_bytes, self.options["max_value_bytes"]),
            partial=self.options["partial"],
        )

        def progress() -> str:
            percent = f"{100 * file.tell() // size} %, " if size else ""
            return f"{percent}{tally.stored:,} stored"

        self.store_all(store, self.alias, records, tally, progress)


class Copy(StoringSubcommand):
    """Copy the live entries of the store FROM, with their expiries, into the store TO.

    The keys are the same in both, each under the PREFIX of its store. Entries that TO already has
    are treated as by `import`: an equal one counts as already there, a different one is reported
    and kept, and a copy that was stopped can be continued by running it again. Nothing is deleted
    from FROM or TO. What others write during the copy may or may not be copied.

    Examples:
      manage.py persist copy default hot
      manage.py persist copy default hot --prefix cart: --overwrite
      manage.py persist copy default hot --dry-run        verify: 0 would be stored
    """

    takes_store: ClassVar[bool] = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("source", metavar="FROM", help="The alias of a store in PERSIST.")
        parser.add_argument("target", metavar="TO", help="The alias of another store.")
        super().add_arguments(parser)
        add_prefix_argument(parser)

    def run(self) -> None:
        prefix, alias = self.options["prefix"], self.options["target"]
        source, target = self.open(self.options["source"]), self.open(alias)
        if source is target:
            raise CommandError("FROM and TO are the same store.", returncode=USAGE)
        tally = Tally(self.command.write_error)
        total = _of_total(self, source, prefix)

        def progress() -> str:
            return f"{tally.stored:,}{total} stored"

        self.store_all(target, alias, read(source.keyspace, prefix), tally, progress)


def _of_total(subcommand: Subcommand, store: Store, prefix: str) -> str:
    """Return " of about N" for the progress line; "", without counting, if none is shown."""
    if not subcommand.command.shows_progress():
        return ""
    return f" of about {store.count(prefix):,}"
