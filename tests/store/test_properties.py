"""Keys, names, steps and objects that Hypothesis makes up."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_persist import Key, Store
from django_persist.contract.counters import LEAST, MOST
from django_persist.exceptions import CounterRangeError, DecodeError
from tests.extent import examples
from tests.machine.shelves import CLASSES, ShelfChange, older, shelves, updated, upgrade

if TYPE_CHECKING:
    from tests.conftest import OpenStore


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.sets(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        max_size=8,
    ),
    length=st.integers(0, 2),
)
def test_any_keys_are_separate_and_listed_by_prefix(
    store: Store, keys: set[str], length: int
) -> None:
    store.set_many({key: key for key in keys})
    assert store.get_many(keys) == {key: key for key in keys}
    for key in keys:
        prefix = key[:length]
        assert {k for k in keys if k.startswith(prefix)} == set(store.keys(prefix))
    assert store.clear() == len(keys)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.integers(LEAST, MOST) | st.integers(-3, 3) | st.sampled_from([MOST, LEAST]), max_size=6
    )
)
def test_any_steps_add_up(store: Store, steps: list[int]) -> None:
    store.remove("a")
    total = 0
    for by in steps:
        if LEAST <= total + by <= MOST:
            total += by
            assert store.incr("a", by) == total
        else:
            with pytest.raises(CounterRangeError):
                store.incr("a", by)
    assert store.get("a", 0) == total


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.text("a:%3A", min_size=1, max_size=4), min_size=1, max_size=2), min_size=2)
)
def test_different_names_at_one_depth_are_different_namespaces(
    open_store: OpenStore, paths: list[list[str]]
) -> None:
    depth = len(paths[0])
    wanted = {tuple(path) for path in paths if len(path) == depth}
    store = open_store("memory")
    store.clear()
    for path in wanted:
        inner = store
        for name in path:
            inner = inner.namespace(name)
        inner.create("key", 1)
    assert store.count() == len(wanted)


@hypothesis_settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(shelves, st.sampled_from(CLASSES), st.sampled_from(ShelfChange), st.booleans())
def test_any_update_of_any_class_keeps_what_it_does_not_know(
    open_store: OpenStore, json: Any, cls: Any, change: ShelfChange, is_older: bool
) -> None:
    store, key = open_store("memory"), Key("a", as_=cls, upgrade=upgrade)
    stored = older(json) if is_older else json
    store.set("a", stored)
    try:
        wanted = None if change is ShelfChange.REMOVE else updated(deepcopy(json), change, cls)
    except DecodeError:
        wanted = stored
        with pytest.raises(DecodeError, match="doesn't know, at"):
            store.update(key, change.function(cls))
    else:
        store.update(key, change.function(cls))
    assert store.get("a") == wanted
