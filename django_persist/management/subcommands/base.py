"""One subcommand of `manage.py persist`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, ClassVar

from ...conf import DEFAULT_ALIAS
from ...handler import stores
from ...store import Store
from ..command import StoreCommand


class Subcommand:
    """Its docstring is what `--help` says of it, and its first sentence what the list says."""

    takes_store: ClassVar[bool] = True

    def __init__(self, command: StoreCommand, options: dict[str, Any]) -> None:
        self.command = command
        self.options = options
        self.json: bool = options["json"]

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add the arguments of its own, after those that all have."""
        if cls.takes_store:
            parser.add_argument(
                "--store",
                default=DEFAULT_ALIAS,
                metavar="ALIAS",
                help="the store, by its alias in PERSIST (default: %(default)s)",
            )
        parser.add_argument("--json", action="store_true", help="say it as JSON")

    def run(self) -> None:
        raise NotImplementedError

    @property
    def alias(self) -> str:
        return str(self.options["store"])

    @property
    def store(self) -> Store:
        return stores[self.alias]
