"""get, set and remove: one entry, or a few."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any, Final

import msgspec
from django.core.management.base import CommandError

from ... import codec
from ...codec.text import from_text
from ...exceptions import DuplicateKeyError, InvalidExpiryError
from ...expiry import DEFAULT, KEEP, ExpiresArg, parse
from ...transfer import one_line, to_bytes
from ..command import FAILED, USAGE
from .base import Subcommand

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)", re.ASCII)
# Controls that JSON leaves as they are, and that a terminal may obey.
_CONTROLS: Final = re.compile("[\x7f-\x9f]")


class Get(Subcommand):
    """Print the value of KEY as JSON.

    Exit code 1 says that there is no live entry.

    Examples:
      manage.py persist get cart:4
      manage.py persist get cart:4 --store hot --json     with the moment at which it ends
      manage.py persist get greeting --text               hello, not "hello"
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="KEY")
        super().add_arguments(parser)
        parser.add_argument(
            "--text", action="store_true", help="print a string as it is, without quotes"
        )

    def run(self) -> None:
        key = self.options["key"]
        stored = self.store.driver.get_item(self.store.keyspace.full(key))
        if stored is None:
            raise CommandError(f"{self.alias} has no live entry {key!r}.", returncode=FAILED)
        value, text = codec.decode(stored.value, key=key), one_line(to_bytes(stored.value))
        if self.json:
            item = {"key": key, "expires_at": stored.expires_at, "value": msgspec.Raw(text)}
            self.command.say_json(item)
        elif self.options["text"] and isinstance(value, str):
            self.command.say(value)
        else:
            self.command.say(_CONTROLS.sub(lambda c: f"\\u{ord(c[0]):04x}", text.decode()))


class Set(Subcommand):
    """Store VALUE, which is JSON, under KEY, over whatever is there.

    Examples:
      manage.py persist set greeting '"hello"'
      manage.py persist set greeting hello --text
      manage.py persist set cart:4 '{"items": []}' --expires 7d
      manage.py persist set lock:import true --expires 2026-12-01T12:00:00Z --create
      manage.py persist set cart:4 - < cart.json
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="KEY")
        parser.add_argument("value", metavar="VALUE", help="JSON, or - to read it from stdin")
        super().add_arguments(parser)
        parser.add_argument(
            "--text", action="store_true", help="VALUE is a string as it is, not JSON"
        )
        parser.add_argument(
            "--expires",
            type=expires,
            default=DEFAULT,
            metavar="WHEN",
            help="seconds, or 90s, 30m, 12h, 7d, 2w; or a moment such as 2026-12-01T12:00:00Z; "
            "or never (default: the store's DEFAULT_EXPIRES)",
        )
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--create", action="store_true", help="only where no live entry is; else exit code 1"
        )
        either.add_argument(
            "--keep", action="store_true", help="leave the expiry of a live entry as it is"
        )

    def run(self) -> None:
        options, store, key = self.options, self.store, self.options["key"]
        expires = options["expires"]
        if options["keep"]:
            if expires is not DEFAULT:
                raise CommandError("--keep and --expires exclude each other.", returncode=USAGE)
            expires = KEEP
        value = self._value()
        try:
            if options["create"]:
                store.create(key, value, expires=expires)
            else:
                store.set(key, value, expires=expires)
        except DuplicateKeyError:
            raise CommandError(
                f"{self.alias} has a live entry {key!r}; it was left as it is.", returncode=FAILED
            ) from None
        if self.json:
            self.command.say_json({"key": key, "stored": True})
        elif options["verbosity"]:
            self.command.say(f"{key!r} was stored in {self.alias}.")

    def _value(self) -> Any:
        given: str = self.options["value"]
        text = sys.stdin.buffer.read() if given == "-" else given.encode(errors="surrogateescape")
        try:
            return text.decode() if self.options["text"] else from_text(text)
        except UnicodeDecodeError:
            reason = "not UTF-8"
        except (msgspec.DecodeError, RecursionError):
            reason = "not JSON that can be stored; --text stores it as a string"
        # Out here nothing is chained: a UnicodeError carries the text.
        raise CommandError(f"VALUE is {reason}.", returncode=USAGE)


class Remove(Subcommand):
    """Delete the entries of the KEYs.

    Exit code 1 says that some of them had no live entry; the others are gone all the same.

    Examples:
      manage.py persist remove cart:4
      manage.py persist remove cart:4 cart:5 --store hot
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("keys", metavar="KEY", nargs="+")
        super().add_arguments(parser)

    def run(self) -> None:
        keys = dict.fromkeys(self.options["keys"])
        for key in keys:
            self.store.keyspace.full(key)  # All are fit, or none is removed.
        missing = [key for key in keys if not self.store.remove(key)]
        removed = len(keys) - len(missing)
        if self.json:
            self.command.say_json({"removed": removed, "missing": missing})
        elif removed and self.options["verbosity"]:
            gone = ", ".join(repr(key) for key in keys if key not in missing)
            self.command.say(f"{gone} removed from {self.alias}.")
        if missing:
            raise CommandError(
                f"{self.alias} has no live entry {', '.join(map(repr, missing))}.",
                returncode=FAILED,
            )


def expires(text: str) -> ExpiresArg:
    """Read what --expires takes."""
    if text == "never":
        return None
    span = _SPAN.fullmatch(text)
    try:
        if span:
            return parse(float(span[1]) * UNITS[span[2] or "s"])
        return parse(datetime.fromisoformat(text))
    except InvalidExpiryError as error:
        raise ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not like 90, 30m, 12h, 7d, 2026-12-01T12:00:00Z or never"
        ) from error
