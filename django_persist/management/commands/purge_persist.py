"""Delete expired entries, a batch at a time. Safe from cron, twice at once and beside writers.

Examples:
  manage.py purge_persist                      every store of PERSIST
  manage.py purge_persist --store hot          one of them
  manage.py purge_persist --max-seconds 60     stop after a minute; the next run goes on
  manage.py purge_persist --dry-run            say how many there are
"""

from __future__ import annotations

import time
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Hashable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import ContentionError, InvalidStoreError, StoreUnavailableError
from ...handler import stores
from ...store import CHUNK, Store


class Command(BaseCommand):
    help = __doc__ or ""
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--store", metavar="ALIAS", help="purge this store, not all of them")
        parser.add_argument(
            "--batch-size",
            type=_positive_int,
            default=CHUNK,
            metavar="N",
            help="begin with N at a time, go on with what 50 ms allow (default: %(default)s)",
        )
        parser.add_argument(
            "--max-seconds",
            type=_positive_float,
            metavar="S",
            help="begin no batch after S seconds",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be deleted; delete nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        limit = options["max_seconds"]
        deadline = None if limit is None else started + limit
        deleted, stopped = 0, False
        try:
            chosen = _stores(options["store"])
            for alias, store in chosen.items():
                if options["dry_run"]:
                    deleted += store.driver.expired()
                elif not stopped:
                    number, stopped = self._purge(alias, store, options["batch_size"], deadline)
                    deleted += number
        except (InvalidStoreError, StoreUnavailableError, ContentionError) as error:
            raise CommandError(str(error)) from error
        verb = "would be deleted" if options["dry_run"] else "deleted"
        seconds = time.monotonic() - started
        self.stdout.write(
            f"{_entries(deleted)} {verb} from {', '.join(chosen)} in {seconds:.1f} s"
            + ("; stopped at --max-seconds, the next run goes on." if stopped else ".")
        )

    def _purge(
        self, alias: str, store: Store, batch_size: int, deadline: float | None
    ) -> tuple[int, bool]:
        """Return how many entries went, and whether the deadline put an end to it."""
        deleted = 0
        for number in store.driver.purge(batch_size):
            deleted += number
            self._show(f"{alias}: {_entries(deleted)} deleted")
            if deadline is not None and time.monotonic() > deadline:
                return deleted, True
        return deleted, False

    def _show(self, progress: str) -> None:
        """Rewrite the line of progress, on a terminal alone."""
        if self.stderr.isatty():
            self.stderr.write(f"\r{progress} ", ending="")
            self.stderr.flush()


def _stores(alias: str | None) -> dict[str, Store]:
    """Return the store of that alias, or one for each place: a purge is of all that is there."""
    if alias is not None:
        return {alias: stores[alias]}
    first: dict[Hashable, str] = {}
    for each in stores:
        first.setdefault(stores[each].place().home, each)
    return {each: stores[each] for each in first.values()}


def _entries(number: int) -> str:
    return f"{number:,} expired {'entry' if number == 1 else 'entries'}"


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be at least 1")
    return number


def _positive_float(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ArgumentTypeError("must be more than 0")
    return number
