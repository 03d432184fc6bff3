"""Calls the function of a Key that turns an older form of its JSON into the one its type has."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

from ..interruptions import raise_if_from_outside

Upgrade: TypeAlias = Callable[[Any], Any]


def call_upgrade(upgrade: Upgrade, plain: Any) -> tuple[Any, Exception | None]:
    """Return what `upgrade` makes of plain JSON and None; or None and the error that it raised."""
    try:
        return upgrade(plain), None
    except Exception as error:
        raise_if_from_outside(error)
        return None, error


def shows_no_value(error: Exception) -> bool:
    """Return whether the error's text certainly holds nothing of a stored value.

    It doesn't if it is made of constants in the code that raised it, like the KeyError of
    `plain["lines"]`. A text that was put together can hold anything.
    """
    if type(error).__str__ not in (BaseException.__str__, Exception.__str__, KeyError.__str__):
        return False
    if error.__cause__ or error.__context__ or getattr(error, "__notes__", None):
        return False
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    constants = trace.tb_frame.f_code.co_consts if trace is not None else ()
    return all(type(arg) is str and arg in constants for arg in error.args)
