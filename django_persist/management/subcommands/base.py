"""The base class of the subcommands of `manage.py persist`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import CommandError

from ...conf import DEFAULT_ALIAS
from ...handler import stores
from ...store import Store
from ..command import USAGE, StoreCommand, as_utf_8


class Subcommand:
    """One subcommand. Its docstring is its `--help`; the first sentence is also its summary."""

    takes_store: ClassVar[bool] = True

    def __init__(self, command: StoreCommand, options: dict[str, Any]) -> None:
        self.command = command
        self.options = options
        self.json: bool = options["json"]

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add the arguments. A subclass adds its own, and calls this for the common ones."""
        if cls.takes_store:
            parser.add_argument(
                "--store",
                default=DEFAULT_ALIAS,
                metavar="ALIAS",
                help="The alias of the store in PERSIST. Defaults to %(default)r.",
            )
        parser.add_argument("--json", action="store_true", help="Print JSON instead of text.")

    def run(self) -> None:
        raise NotImplementedError

    @property
    def alias(self) -> str:
        return str(self.options["store"])

    @property
    def store(self) -> Store:
        return self.open(self.alias)

    def open(self, alias: str) -> Store:
        """Return the store with that alias.

        Raises CommandError in a process of its own, which has no part in a store in memory: it
        would read nothing, and what it writes would end with it.
        """
        store = stores[alias]
        if self.command.is_process and not store.driver.supports_several_processes:
            raise CommandError(
                f"{alias} is in memory: each process has its own entries, and those of this one "
                "end with it. Nothing was done.",
                returncode=USAGE,
            )
        return store


def add_prefix_argument(parser: ArgumentParser, name: str = "--prefix") -> None:
    """Add the option `--prefix`, or with the name `prefix` an optional positional argument."""
    is_positional = not name.startswith("-")
    parser.add_argument(
        name,
        metavar="PREFIX",
        type=as_utf_8,
        nargs="?" if is_positional else None,
        default="",
        help="Only keys that begin with PREFIX. Defaults to all keys.",
    )
