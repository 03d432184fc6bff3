"""Delete expired entries in batches.

It is safe to run this from cron, several times at once, and while others write.

Examples:
  manage.py purge_persist                      every store of PERSIST
  manage.py purge_persist --store hot          one store
  manage.py purge_persist --max-seconds 60     stop after a minute; the next run continues
  manage.py purge_persist --dry-run            only count the expired entries
  manage.py purge_persist --json               output for a program

Exit codes: 0 done, 1 a store could not be reached, 2 invalid arguments or settings, 130 stopped by
Ctrl-C. If it doesn't finish, it says how many entries it deleted; they stay deleted.
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
from ..command import FAILED, STOPPED, StoreCommand, plural, positive_int


class Command(StoreCommand):
    help = __doc__ or ""
    unavailable = FAILED

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--store", metavar="ALIAS", help="Purge only this store. Defaults to all stores."
        )
        parser.add_argument(
            "--batch-size",
            type=positive_int,
            default=CHUNK,
            metavar="N",
            help="The size of the first batch. Later batches are as large as can be deleted in "
            "about 50 ms. Defaults to %(default)s.",
        )
        parser.add_argument(
            "--max-seconds",
            type=_positive_float,
            metavar="S",
            help="Start no batch after S seconds. Defaults to no limit.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Count the expired entries; delete nothing."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON instead of text.")

    def run(self, **options: Any) -> None:
        started = time.monotonic()
        limit = options["max_seconds"]
        chosen = _stores_to_purge(options["store"])
        dry_run: bool = options["dry_run"]
        # By alias. Updated after every batch, so that it is right however the command ends.
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
            self._report(deleted, options, started, "; not complete.", complete=False)
            if isinstance(error, KeyboardInterrupt):
                raise CommandError(
                    "Stopped. The last batch may have been deleted as well.", returncode=STOPPED
                ) from None
            raise
        end = "." if finished else "; stopped at --max-seconds, the next run continues."
        self._report(deleted, options, started, end, complete=finished)

    def _purge(
        self,
        chosen: dict[str, Store],
        batch_size: int,
        deadline: float | None,
        deleted: dict[str, int],
    ) -> bool:
        """Purge the stores and count in `deleted`. Return False if the deadline passed first."""
        for alias, store in chosen.items():
            for number in store.driver.purge(batch_size):
                deleted[alias] += number
                self.show_progress(f"{alias}: {_expired(deleted[alias])} deleted")
                if deadline is not None and time.monotonic() > deadline:
                    return False
        return True

    def _report(
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
            self.write_json(
                {
                    "would_be_deleted" if options["dry_run"] else "deleted": deleted,
                    "seconds": round(seconds, 3),
                    "complete": complete,
                }
            )
        else:
            verb = "would be deleted" if options["dry_run"] else "deleted"
            total = _expired(sum(deleted.values()))
            self.write_line(f"{total} {verb} from {', '.join(deleted)} in {seconds:.1f} s{end}")


def _stores_to_purge(alias: str | None) -> dict[str, Store]:
    """Return the store with that alias, or one store for each place.

    The stores of one place share their expired entries: purging one of them purges all.
    """
    if alias is not None:
        return {alias: stores[alias]}
    first: dict[Hashable, str] = {}
    for each in stores:
        first.setdefault(stores[each].place().location, each)
    return {each: stores[each] for each in first.values()}


def _expired(number: int) -> str:
    return plural(number, "expired entry", "expired entries")


def _positive_float(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ArgumentTypeError("must be more than 0")
    return number
