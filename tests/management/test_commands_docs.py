"""The reference of the commands documents every subcommand and every option."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.core.management.base import DjangoHelpFormatter

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()
DJANGO_OPTIONS = set(DjangoHelpFormatter.show_last) | {"-h", "--help", "-v"}


def parser(command: str) -> ArgumentParser:
    return load_command_class("django_persist", command).create_parser("manage.py", command)


def options(parser: ArgumentParser) -> set[str]:
    return {
        option
        for action in parser._actions
        if action.help != SUPPRESS
        for option in action.option_strings
    } - DJANGO_OPTIONS


def subparsers() -> dict[str, ArgumentParser]:
    for action in parser("persist")._actions:
        if isinstance(action, _SubParsersAction):
            return dict(action.choices)
    raise AssertionError


PARSERS = {
    **{f"persist {name}": parser for name, parser in subparsers().items()},
    "purge_persist": parser("purge_persist"),
}


@pytest.mark.parametrize("command", PARSERS)
def test_reference_documents_every_option(command: str) -> None:
    [section] = re.findall(rf"^## {command}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found = options(PARSERS[command])
    assert [option for option in found if not re.search(rf"{option}\b", section)] == []


@pytest.mark.parametrize("command", ["persist", "purge_persist", *PARSERS])
def test_help_has_examples(command: str) -> None:
    shown = (PARSERS.get(command) or parser(command)).format_help()
    assert f"Examples:\n  manage.py {command}" in shown
    assert max(map(len, shown.splitlines())) <= 100
