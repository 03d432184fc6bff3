"""Read and change the stores of PERSIST, and move entries between them.

Examples:
  manage.py persist get greeting
  manage.py persist set greeting '"hello"' --expires 7d
  manage.py persist keys cart: --store hot
  manage.py persist export backup.jsonl
  manage.py persist import backup.jsonl --store hot
  manage.py persist copy default hot

Exit codes: 0 done, 1 no such entry or not everything done, 2 invalid arguments or settings, 3 the
store could not be reached, 130 stopped by Ctrl-C. See also `manage.py persist SUBCOMMAND --help`.
"""

from __future__ import annotations

from argparse import SUPPRESS, RawDescriptionHelpFormatter
from inspect import getdoc
from typing import Any

from django.core.management.base import CommandParser

from ..command import StoreCommand
from ..subcommands.base import Subcommand
from ..subcommands.entries import Get, Remove, Set
from ..subcommands.listings import Clear, Keys, Stats
from ..subcommands.transfers import Copy, Export, Import

SUBCOMMANDS: dict[str, type[Subcommand]] = {
    "get": Get,
    "set": Set,
    "remove": Remove,
    "keys": Keys,
    "clear": Clear,
    "stats": Stats,
    "export": Export,
    "import": Import,
    "copy": Copy,
}


class Command(StoreCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, subcommand in SUBCOMMANDS.items():
            doc = getdoc(subcommand) or ""
            subparser = subparsers.add_parser(
                name,
                help=doc.partition("\n\n")[0],
                description=doc,
                formatter_class=RawDescriptionHelpFormatter,
                parents=[_django_options()],
            )
            subcommand.add_arguments(subparser)

    def run(self, **options: Any) -> None:
        SUBCOMMANDS[options["subcommand"]](self, options).run()


def _django_options() -> CommandParser:
    """Return Django's own options, so that they can also stand after the subcommand."""
    parser = CommandParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), help=SUPPRESS)
    for option in ("--settings", "--pythonpath"):
        parser.add_argument(option, help=SUPPRESS)
    for option in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(option, action="store_true", default=SUPPRESS, help=SUPPRESS)
    return parser
