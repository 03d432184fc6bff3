"""What the commands have in common: exit codes, output for people and for pipes, and progress."""

from __future__ import annotations

import os
import sys
import time
from argparse import RawDescriptionHelpFormatter
from typing import Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ..codec.text import to_text
from ..exceptions import (
    ContentionError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
    InvalidStoreError,
    PersistError,
    StoreUnavailableError,
)
from ..export_format import NotAnExportError

FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
STOPPED: Final = 130
"""As a shell has it for a program that Ctrl-C has ended: 128 and the number of SIGINT."""
PIPE_CLOSED: Final = 141
"""As a shell has it for a program whose reader has gone: 128 and the number of SIGPIPE."""

REFRESH: Final = 0.1
"""Seconds between two states of the line of progress."""

UNFIT = (InvalidStoreError, InvalidKeyError, InvalidExpiryError, EncodeError)


class StoreCommand(BaseCommand):
    """A command that ends with a message and an exit code, whatever happens."""

    requires_system_checks = ()
    unavailable: int = UNAVAILABLE
    """The exit code where a store can't be reached."""

    _shown = ""
    _shown_at = 0.0

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def run(self, **options: Any) -> None:
        """Do what the command is for. Raises CommandError, with its exit code, where it failed."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            try:
                self.run(**options)
            finally:
                self.end_progress()
            self.stdout.flush()
        except BrokenPipeError:
            # Nobody reads on, as in `| head`. What is still buffered must not be tried again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(PIPE_CLOSED) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=STOPPED) from None
        except (PersistError, NotAnExportError, OSError, DatabaseError) as error:
            self.fail(error)

    def fail(self, error: BaseException, done: str = "") -> NoReturn:
        """End the command for an error, after a sentence of what was done before it."""
        message, code = str(error), FAILED
        if isinstance(error, UNFIT):
            code = USAGE
        elif isinstance(error, StoreUnavailableError):
            had = "may have taken effect" if error.maybe_applied else "had no effect"
            message, code = f"{error} What was under way {had}.", self.unavailable
        elif isinstance(error, ContentionError):
            code = self.unavailable
        elif isinstance(error, DatabaseError):
            # Its own message can show what was sent, values too.
            message = f"The database raised {type(error).__name__}: has it been migrated?"
            code = self.unavailable
        elif isinstance(error, OSError):
            message = ": ".join(filter(None, (str(error.filename or ""), error.strerror)))
        raise CommandError(f"{message} {done}".rstrip(), returncode=code) from error

    # Output: data on stdout, as bytes in UTF-8 whatever the locale; all else on stderr.

    def emit(self, data: bytes) -> None:
        """Write data to stdout."""
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None:  # A StringIO that call_command was given.
            self.stdout.write(data.decode(), ending="")
        else:
            buffer.write(data)

    def say(self, line: str) -> None:
        """Write a line to stdout."""
        self.end_progress()
        self.emit(f"{line}\n".encode())

    def say_json(self, value: Any) -> None:
        """Write a value to stdout, as a line of JSON."""
        self.say(to_text(value).decode())

    def tell(self, message: str) -> None:
        """Write a line to stderr."""
        self.end_progress()
        self.stderr.write(message)

    def shows_progress(self) -> bool:
        return self.stderr.isatty()

    def progress(self, line: str) -> None:
        """Show how far it is, in a line of the terminal that the next one replaces."""
        moment = time.monotonic()
        if moment - self._shown_at < REFRESH or not self.shows_progress():
            return
        self._shown_at = moment
        blanks = " " * (len(self._shown) - len(line))
        self.stderr.write(f"\r{line}{blanks}", style_func=str, ending="")
        self.stderr.flush()
        self._shown = line

    def end_progress(self) -> None:
        """Take the line of progress away."""
        if self._shown:
            self.stderr.write(f"\r{' ' * len(self._shown)}\r", style_func=str, ending="")
            self.stderr.flush()
            self._shown = ""


def plural(number: int, singular: str = "entry", plural: str = "entries") -> str:
    return f"{number:,} {singular if number == 1 else plural}"
