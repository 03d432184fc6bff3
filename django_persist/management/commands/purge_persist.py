"""Delete expired entries, a batch at a time. Safe from cron, twice at once and beside writers.

Examples:
  manage.py purge_persist                      every store of PERSIST
  manage.py purge_persist --store hot          one of them
  manage.py purge_persist --max-seconds 60     stop after a minute; the next run goes on
  manage.py purge_persist --dry-run            say how many there are
  manage.py purge_persist --json               for a program to read

Exit codes: 0 done, 1 a store could not be reached, 2 unfit arguments or settings, 130 stopped by
Ctrl-C. What was deleted until then is said, and stays deleted.
"""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Hashable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...handler import stores
from ...keyspace import CHUNK
from ...store import Store
from ..command import FAILED, STOPPED, StoreCommand, plural


class Command(StoreCommand):
    help = __doc__ or ""
    unavailable = FAILED

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
        parser.add_argument("--json", action="store_true", help="say it as JSON")

    def run(self, **options: Any) -> None:
        started = time.monotonic()
        limit = options["max_seconds"]
        chosen = _stores(options["store"])
        dry_run: bool = options["dry_run"]
        # By store: filled as it goes, so that it is true whenever the run ends.
        deleted = dict.fromkeys(chosen, 0)
        finished = False
        try:
            if dry_run:
                deleted |= {alias: store.driver.expired() for alias, store in chosen.items()}
                finished = True
            else:
                deadline = None if limit is None else started + limit
                finished = self._purge(chosen, options["batch_size"], deadline, deleted)
        except BaseException as error:
            self._say(deleted, options, started, "; not all was done.", complete=False)
            if isinstance(error, KeyboardInterrupt):
                raise CommandError(
                    "Stopped; a batch under way may be deleted as well.", returncode=STOPPED
                ) from None
            raise
        end = "." if finished else "; stopped at --max-seconds, the next run goes on."
        self._say(deleted, options, started, end, complete=finished)

    def _purge(
        self,
        chosen: dict[str, Store],
        batch_size: int,
        deadline: float | None,
        deleted: dict[str, int],
    ) -> bool:
        """Purge stores, counting in `deleted`; return False where the deadline put an end to it."""
        for alias, store in chosen.items():
            for number in store.driver.purge(batch_size):
                deleted[alias] += number
                self.progress(f"{alias}: {_expired(deleted[alias])} deleted")
                if deadline is not None and time.monotonic() > deadline:
                    return False
        return True

    def _say(
        self,
        deleted: dict[str, int],
        options: dict[str, Any],
        started: float,
        end: str,
        *,
        complete: bool,
    ) -> None:
        seconds = time.monotonic() - started
        if options["json"]:
            self.say_json(
                {
                    "would_be_deleted" if options["dry_run"] else "deleted": deleted,
                    "seconds": round(seconds, 3),
                    "complete": complete,
                }
            )
        else:
            verb = "would be deleted" if options["dry_run"] else "deleted"
            total = _expired(sum(deleted.values()))
            self.say(f"{total} {verb} from {', '.join(deleted)} in {seconds:.1f} s{end}")


def _stores(alias: str | None) -> dict[str, Store]:
    """Return the store of that alias, or one for each place: a purge is of all that is there."""
    if alias is not None:
        return {alias: stores[alias]}
    first: dict[Hashable, str] = {}
    for each in stores:
        first.setdefault(stores[each].place().location, each)
    return {each: stores[each] for each in first.values()}


def _expired(number: int) -> str:
    return plural(number, "expired entry", "expired entries")


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
