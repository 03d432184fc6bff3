"""The subcommands for single entries: get, set and remove."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any, Final

import msgspec
from django.core.management.base import CommandError

from ... import codec
from ...codec import from_text
from ...exceptions import DuplicateKeyError, InvalidExpiryError
from ...expiry import DEFAULT, KEEP, LONGEST, ExpiresArg, parse
from ...transfer import one_line, to_bytes
from ..command import FAILED, USAGE, as_utf_8, stdin
from .base import Subcommand

UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LIFETIME: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)", re.ASCII)
# Control characters that JSON allows unescaped, but that could change the state of a terminal.
_CONTROLS: Final = re.compile("[\x7f-\x9f]")


class Get(Subcommand):
    """Print the value of KEY as JSON.

    The exit code is 1 if there is no live entry.

    Examples:
      manage.py persist get cart:4
      manage.py persist get cart:4 --store hot --json     with its expiry
      manage.py persist get greeting --text               hello instead of "hello"
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="KEY", type=as_utf_8)
        super().add_arguments(parser)
        parser.add_argument("--text", action="store_true", help="Print a string without quotes.")

    def run(self) -> None:
        key, keyspace = self.options["key"], self.store.keyspace
        stored = keyspace.driver.get_item(keyspace.full(key))
        if stored is None:
            raise CommandError(f"{self.alias} has no live entry {key!r}.", returncode=FAILED)
        value, text = codec.decode(stored.value, key=key), one_line(to_bytes(stored.value))
        if self.json:
            item = {"key": key, "expires_at": stored.expires_at, "value": msgspec.Raw(text)}
            self.command.write_json(item)
        elif self.options["text"] and isinstance(value, str):
            self.command.write_line(value)
        else:
            shown = _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text.decode())
            self.command.write_line(shown)


class Set(Subcommand):
    """Store VALUE, which is JSON, under KEY.

    An existing entry is overwritten, unless --create is given.

    Examples:
      manage.py persist set greeting '"hello"'
      manage.py persist set greeting hello --text
      manage.py persist set cart:4 '{"items": []}' --expires 7d
      manage.py persist set lock:import true --expires 2026-12-01T12:00:00Z --create
      manage.py persist set cart:4 - < cart.json
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="KEY", type=as_utf_8)
        parser.add_argument("value", metavar="VALUE", help="JSON, or - to read it from stdin.")
        super().add_arguments(parser)
        parser.add_argument(
            "--text", action="store_true", help="Store VALUE as a string, not as JSON."
        )
        parser.add_argument(
            "--expires",
            type=parse_expires,
            default=DEFAULT,
            metavar="WHEN",
            help="Seconds (90), a lifetime (90s, 30m, 12h, 7d, 2w), a date and time with its UTC "
            "offset (2026-12-01T12:00:00Z), or never. Defaults to the store's DEFAULT_EXPIRES.",
        )
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--create",
            action="store_true",
            help="Store only if KEY has no live entry. Otherwise the exit code is 1.",
        )
        either.add_argument(
            "--keep", action="store_true", help="Keep the expiry of an existing live entry."
        )

    def run(self) -> None:
        options, store, key = self.options, self.store, self.options["key"]
        expires = options["expires"]
        if options["keep"]:
            if expires is not DEFAULT:
                raise CommandError("--keep and --expires exclude each other.", returncode=USAGE)
            expires = KEEP
        value = self._read_value()
        try:
            if options["create"]:
                store.create(key, value, expires=expires)
            else:
                store.set(key, value, expires=expires)
        except DuplicateKeyError:
            raise CommandError(
                f"{self.alias} already has a live entry {key!r}. It was not changed.",
                returncode=FAILED,
            ) from None
        if self.json:
            self.command.write_json({"key": key, "stored": True})
        elif options["verbosity"]:
            self.command.write_line(f"{key!r} was stored in {self.alias}.")

    def _read_value(self) -> Any:
        given: str = self.options["value"]
        text = stdin().read() if given == "-" else os.fsencode(given)
        try:
            return text.decode() if self.options["text"] else from_text(text)
        except UnicodeDecodeError:
            reason = "not UTF-8"
        except (msgspec.DecodeError, RecursionError):
            reason = "not JSON that can be stored; --text stores it as a string"
        # Raised out here so that it isn't chained to a UnicodeError, which contains the value.
        raise CommandError(f"VALUE is {reason}.", returncode=USAGE)


class Remove(Subcommand):
    """Delete the entries of the given KEYs.

    The exit code is 1 if any of them had no live entry. The others are deleted anyway.

    Examples:
      manage.py persist remove cart:4
      manage.py persist remove cart:4 cart:5 --store hot
    """

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("keys", metavar="KEY", nargs="+", type=as_utf_8)
        super().add_arguments(parser)

    def run(self) -> None:
        keys = list(dict.fromkeys(self.options["keys"]))
        self.store.keyspace.full_many(keys)  # If one key is invalid, nothing is deleted.
        missing = [key for key in keys if not self.store.remove(key)]
        removed = [key for key in keys if key not in missing]
        if self.json:
            self.command.write_json({"removed": len(removed), "missing": missing})
        elif removed and self.options["verbosity"]:
            self.command.write_line(f"{_key_list(removed)} removed from {self.alias}.")
        if missing:
            raise CommandError(
                f"{self.alias} has no live entry {_key_list(missing)}.", returncode=FAILED
            )


def _key_list(keys: list[str]) -> str:
    return ", ".join(map(repr, keys))


def parse_expires(text: str) -> ExpiresArg:
    """Return the expiry that `--expires` was given.

    Raises ArgumentTypeError, whose message says what to write in a shell.
    """
    if text == "never":
        return None
    lifetime = _LIFETIME.fullmatch(text)
    try:
        if lifetime:
            return parse(float(lifetime[1]) * UNIT_SECONDS[lifetime[2] or "s"])
        moment = datetime.fromisoformat(text)
        if moment.utcoffset() is None:
            raise ArgumentTypeError(
                f"{text!r} has no offset from UTC. If it is in UTC, write {moment.isoformat()}Z"
            )
        return parse(moment)
    except InvalidExpiryError as error:
        if lifetime and not float(lifetime[1]):
            message = "a lifetime must be more than 0"
        elif lifetime:
            message = f"a lifetime can be at most {LONGEST.days}d; for no expiry write never"
        else:
            message = f"{text!r} is later than a store can hold; for no expiry write never"
        raise ArgumentTypeError(message) from error
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not like 90, 30m, 12h, 7d, 2026-12-01T12:00:00Z or never"
        ) from error
