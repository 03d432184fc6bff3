"""The base of the machine: what it draws, and how it compares a store with the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple

from django_persist import Store
from django_persist.exceptions import PersistError
from tests.codec.sameness import same
from tests.machine.expires import (
    NEVER,
    AnyExpires,
    Expires,
    FromNow,
    Times,
    to_micros,
)
from tests.machine.model import ABSENT, Entry, Model, RefusedError, Window
from tests.machine.place import DEFAULT_EXPIRES, NEIGHBOURS, PREFIX, Place
from tests.machine.samples import (
    COUNTED,
    INVALID_NAMES,
    INVALID_PREFIXES,
    NAMESPACES,
    OWN,
    Name,
    Sample,
    forms,
    json_sample,
    plain_name,
    prefixes,
    some_texts,
    texts,
    typed_name,
    valid_samples,
)
from tests.machine.view import BoomError, View
from tests.machine.weighted import weighted


def micros() -> int:
    return time.time_ns() // 1000


def times(pick: Callable[[Times], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Draw lifetimes and moments that suit the clock of the machine's store."""
    return st.runner().flatmap(lambda machine: pick(machine.place.times))


known: Final = Bundle("known")
expires: Final = times(lambda times: times.expires)
expires_or_keep: Final = times(lambda times: times.expires_or_keep)
names: Final = weighted(
    (12, known.map(plain_name)),
    (
        3,
        st.builds(
            typed_name, known, forms.filter(lambda form: form is not OWN), times(lambda t: t.own)
        ),
    ),
    (2, texts.map(plain_name)),
    (1, st.sampled_from(INVALID_NAMES)),
)
where: Final = weighted((3, st.just(())), (1, st.sampled_from(list(NAMESPACES))))
under: Final = weighted((9, prefixes), (1, st.sampled_from(list(INVALID_PREFIXES))))
counted: Final = weighted(
    (5, st.integers(-3, 3)),
    (3, st.sampled_from([by for by in COUNTED if type(by) is int])),
    (1, st.integers(-(2**64), 2**64)),
    (1, st.sampled_from([1.0, True, "1", None])),
)
bounds: Final = weighted(
    (6, st.none()),
    (3, st.integers(-6, 6)),
    (2, st.sampled_from([by for by in COUNTED if type(by) is int])),
)


Path: TypeAlias = tuple[str | int, ...]
"""The namespaces in which a call is made."""


class CheckedMachine(RuleBasedStateMachine):
    """A store with neighbours in the same place, and a model; each step compares the two."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.model = Model(exact=place.exact)
        self.stores: dict[Path, tuple[Store, View]] = {}
        self.version: tuple[str, Any] = ("", ABSENT)
        """A version that an entry had, and the plain JSON that it stood for."""
        place.begin()
        for key, (value, lifetime) in NEIGHBOURS.items():
            begun = micros()
            place.beneath.set(key, value, expires=lifetime.arg)
            self.model.now = Window(begun, micros())
            self.model.entries[key] = Entry(json_sample(value), self.model.end(lifetime))

    @initialize(
        target=known,
        default=st.sampled_from([DEFAULT_EXPIRES, NEVER]),
        keys=some_texts,
        samples=st.lists(valid_samples, min_size=3, max_size=3),
        expires=expires,
    )
    def begin_with_entries(
        self, default: Expires, keys: list[str], samples: list[Sample], expires: AnyExpires
    ) -> Any:
        for path, namespace in NAMESPACES.items():
            store = self.place.store if default is DEFAULT_EXPIRES else self.place.lasting
            for part in path:
                store = store.namespace(part)
            self.stores[path] = store, View(self.model, PREFIX, namespace, default)
        for key, sample in zip(keys, samples, strict=False):
            self.put(plain_name(key), sample, self.at(expires))
        return multiple(*keys)

    def put(self, name: Name, sample: Sample, end: Expires) -> None:
        self.check(
            (),
            lambda store: store.set(name.arg, sample.value, expires=end.arg),
            lambda view: view.set(name, sample, end),
        )

    def check(
        self,
        path: Path,
        call: Callable[[Store], Any],
        wanted: Callable[[View], Any],
    ) -> None:
        """Make a call; assert that it returns or raises what the model does."""
        store, view = self.stores[path]
        error: Exception | None = None
        got: Any = None
        begun = micros()
        try:
            got = call(store)
        except (PersistError, TypeError, ValueError, BoomError) as raised:
            error = raised
        self.model.now = Window(begun, micros())
        try:
            want = wanted(view)
        except RefusedError as refused:
            assert isinstance(error, refused.errors), f"not {refused}, but {error or got!r}"
            return
        if error is not None:
            raise AssertionError(f"not {want!r}, but an error") from error
        assert same(got, want), f"not {want!r}, but {got!r}"

    def form(self, path: Path, name: Name, form: Any) -> Any:
        return self.stores[path][1].form_of(name) if form is OWN else form

    @invariant()
    def has_what_the_model_has(self) -> None:
        """Compare all entries: those of the store and those of its neighbours."""
        found = dict(self.place.beneath.items())
        self.model.now = Window(micros(), micros())
        live = self.model.live()
        assert found.keys() == live.keys()
        for key, item in found.items():
            entry = live[key]
            assert same(item.value, entry.sample.plain), key
            if entry.end is None or item.expires_at is None:
                assert entry.end is None and item.expires_at is None, key
            else:
                end = to_micros(item.expires_at)
                assert entry.end.first <= end <= entry.end.last, key
                # Now it is known. Only a call that gives a new expiry may change it.
                entry.end = Window(end, end)

    def at(self, expires: AnyExpires) -> Expires:
        return expires.at(micros()) if isinstance(expires, FromNow) else expires
