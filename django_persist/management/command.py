"""What the commands share: exit codes, output for people and for pipes, and progress."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ..codec import to_text
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
from ..purging import server_errors

FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
STOPPED: Final = 130
"""What a shell reports for a program ended by Ctrl-C: 128 plus the number of SIGINT."""
PIPE_CLOSED: Final = 141
"""What a shell reports for a program whose reader is gone: 128 plus the number of SIGPIPE."""

NO_PERMISSION: Final = {
    "42501",  # PostgreSQL: insufficient_privilege
    *(1044, 1045, 1142, 1143, 1227, 1370),  # MariaDB and MySQL: access denied
}

REFRESH_SECONDS: Final = 0.1
"""The shortest time between two updates of the progress line."""

USAGE_ERRORS = (InvalidStoreError, InvalidKeyError, InvalidExpiryError, EncodeError)
"""The errors that mean invalid arguments or settings."""


class StoreCommand(BaseCommand):
    """A command that always ends with a message and an exit code, never with a traceback."""

    requires_system_checks = ()

    is_process: bool = False
    """Whether the command is a process of its own, not a call of `call_command`."""

    _progress_line = ""
    _progress_at = 0.0

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def run_from_argv(self, argv: list[str]) -> None:
        self.is_process = True
        super().run_from_argv(argv)

    def run(self, **options: Any) -> None:
        """Do the command's work. Raises CommandError with an exit code if it failed."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        if sys.stdout is None and not options.get("stdout"):
            raise CommandError(
                "Standard output is closed, so nothing was done. Use >/dev/null to discard it.",
                returncode=FAILED,
            )
        try:
            try:
                self.run(**options)
            finally:
                self.end_progress()
            self.stdout.flush()
        except BrokenPipeError:
            # The reader is gone, as in `| head`. Python flushes stdout again at exit; with
            # os.devnull in its place that flush can't fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(PIPE_CLOSED) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=STOPPED) from None
        except reported_errors() as error:
            self.fail(error)

    def fail(self, error: BaseException, done: str = "") -> NoReturn:
        """End the command because of `error`; `done` is a sentence about what was done before."""
        message, code = describe_error(error)
        raise CommandError(f"{message} {done}".rstrip(), returncode=code) from error

    def fail_at_stores(self, errors: Mapping[str, Exception]) -> NoReturn:
        """End the command because of the errors of several stores, by alias. Each is named."""
        described = {alias: describe_error(error) for alias, error in errors.items()}
        raise CommandError(
            "\n".join(f"{alias}: {message}" for alias, (message, _) in described.items()),
            returncode=max(code for _, code in described.values()),
        ) from next(iter(errors.values()))

    # Data goes to stdout as UTF-8 bytes, whatever the locale. All other output goes to stderr.

    def write_bytes(self, data: bytes) -> None:
        """Write data to stdout."""
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None:  # A StringIO that was passed to call_command.
            self.stdout.write(data.decode(), ending="")
        else:
            buffer.write(data)

    def write_line(self, line: str) -> None:
        """Write a line to stdout."""
        self.end_progress()
        self.write_bytes(f"{line}\n".encode())

    def write_json(self, value: Any) -> None:
        """Write a value to stdout as one line of JSON."""
        self.write_line(to_text(value).decode())

    def write_error(self, message: str) -> None:
        """Write a line to stderr."""
        self.end_progress()
        self.stderr.write(message)

    def shows_progress(self) -> bool:
        """Return whether stderr is a terminal."""
        return self.stderr.isatty()

    def show_progress(self, line: str) -> None:
        """Show a line on the terminal in place of the previous progress line."""
        current = time.monotonic()
        if current - self._progress_at < REFRESH_SECONDS or not self.shows_progress():
            return
        self._progress_at = current
        blanks = " " * (len(self._progress_line) - len(line))
        self.stderr.write(f"\r{line}{blanks}", style_func=str, ending="")
        self.stderr.flush()
        self._progress_line = line

    def end_progress(self) -> None:
        """Erase the progress line."""
        if self._progress_line:
            blanks = " " * len(self._progress_line)
            self.stderr.write(f"\r{blanks}\r", style_func=str, ending="")
            self.stderr.flush()
            self._progress_line = ""


def reported_errors() -> tuple[type[Exception], ...]:
    """Return the errors that end a command with a message: ours, and those of files and servers."""
    return *server_errors(), NotAnExportError, OSError


def describe_error(error: BaseException) -> tuple[str, int]:
    """Return the message about an error, and the exit code."""
    if isinstance(error, USAGE_ERRORS):
        return str(error), USAGE
    if isinstance(error, StoreUnavailableError):
        effect = "may have taken effect" if error.maybe_applied else "had no effect"
        return f"{error} The operation in progress {effect}.", UNAVAILABLE
    if isinstance(error, ContentionError):
        return str(error), UNAVAILABLE
    if isinstance(error, OSError):
        return ": ".join(filter(None, (str(error.filename or ""), error.strerror))), FAILED
    if isinstance(error, PersistError | NotAnExportError):
        return str(error), FAILED
    return _server_error_message(error), UNAVAILABLE


def _server_error_message(error: BaseException) -> str:
    """Say what the server raised. The server's own text can contain values."""
    name = type(error).__name__
    if not isinstance(error, DatabaseError):
        # After its name and key, an unknown command is shown with its other arguments.
        return f"Redis raised {name}: {str(error).partition(', with args')[0].rstrip('.')}."
    code = _error_code(error.__cause__)
    if code in NO_PERMISSION:
        return f"The database raised {name} {code}: its user lacks a privilege, see GRANT."
    return f"The database raised {name} {code}".rstrip() + "."


def _error_code(error: BaseException | None) -> str | int:
    """Return the code that a database gave to an error of its client library; "" without one."""
    if error is None:
        return ""
    named = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    first = error.args[0] if error.args else ""
    return named or (first if isinstance(first, int) else "")


def stdin() -> BinaryIO:
    """Return standard input. Raises CommandError if it is closed."""
    if sys.stdin is None:
        raise CommandError("Standard input is closed.", returncode=FAILED)
    return sys.stdin.buffer


def as_utf_8(argument: str) -> str:
    """Return an argument as the UTF-8 that the shell has passed, whatever the locale is."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return argument


def plural(number: int, singular: str = "entry", plural: str = "entries") -> str:
    return f"{number:,} {singular if number == 1 else plural}"


def positive_int(text: str) -> int:
    """Read an argument that is a positive int."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be at least 1")
    return number
