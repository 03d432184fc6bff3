"""Delete expired entries in batches.

It is safe to run this from cron, several times at once, and while others write.

Examples:
  manage.py purge_persist                      every store of PERSIST
  manage.py purge_persist --store hot          one store
  manage.py purge_persist --max-seconds 60     stop after a minute; the next run continues
  manage.py purge_persist --dry-run            only count the expired entries
  manage.py purge_persist --json               output for a program

Exit codes: 0 done, 2 invalid arguments or settings, 3 a store could not be reached (the others are
purged all the same), 130 stopped by Ctrl-C. If it doesn't finish, it says how many entries it
deleted; they stay deleted.
"""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...keyspace import CHUNK
from ...purging import Purge
from ..command import STOPPED, StoreCommand, plural, positive_int


class Command(StoreCommand):
    help = __doc__ or ""

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
        purge = Purge(options["store"])
        finished = False
        try:
            if options["dry_run"]:
                purge.count()
            else:
                for alias in purge.run(options["batch_size"], options["max_seconds"]):
                    self.show_progress(f"{alias}: {_expired(purge.numbers[alias])} deleted")
            finished = not purge.errors
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. The last batch may have been deleted as well.", returncode=STOPPED
            ) from None
        finally:
            self._report(purge, options, time.monotonic() - started, finished=finished)
        if purge.errors:
            self.fail_at_stores(purge.errors)

    def _report(
        self, purge: Purge, options: dict[str, Any], seconds: float, *, finished: bool
    ) -> None:
        if options["json"]:
            self.write_json(
                {
                    "would_be_deleted" if options["dry_run"] else "deleted": purge.numbers,
                    "seconds": round(seconds, 3),
                    "complete": finished and not purge.stopped,
                }
            )
            return
        verb = "would be deleted" if options["dry_run"] else "deleted"
        if not finished:
            end = "; not complete."
        elif purge.stopped:
            end = "; stopped at --max-seconds, the next run continues."
        else:
            end = "."
        total, aliases = _expired(sum(purge.numbers.values())), ", ".join(purge.numbers)
        self.write_line(f"{total} {verb} from {aliases} in {seconds:.1f} s{end}")


def _expired(number: int) -> str:
    return plural(number, "expired entry", "expired entries")


def _positive_float(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ArgumentTypeError("must be more than 0")
    return number
