"""Keys as PostgreSQL arrays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_persist import Store
from django_persist.drivers.database.statements.postgresql import array

# The characters of the syntax of arrays, and others that a key may contain.
texts = st.text(st.sampled_from(["a", '"', "\\", ",", "{", "}", " ", "'", "\n", "\x1f", "é", "%"]))


@pytest.mark.parametrize("keys", [[], ["NULL"], ["", ""], ['a"'], ["a\\"], ['"', "b"], ["\\", '"']])
def test_an_array_is_read_as_it_was_written(
    open_store: Callable[..., Store], keys: list[str]
) -> None:
    open_store("postgresql")
    assert as_read(keys) == keys


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(keys=st.lists(texts | st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
def test_an_array_of_any_keys_is_read_as_it_was_written(
    open_store: Callable[..., Store], keys: list[str]
) -> None:
    open_store("postgresql")
    assert as_read(keys) == keys


def as_read(keys: list[str]) -> list[str]:
    with connections["postgresql"].cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [array(keys)])
        [(found,)] = cursor.fetchall()
        return list(found)
