"""A state machine that makes any call of a store and compares it with the model."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.checked import expires, expires_or_keep, micros, names, times, under, where
from tests.machine.expires import MICROSECOND, AnyExpires, to_moment
from tests.machine.place import PREFIX
from tests.machine.samples import Name, forms, plain_name, samples, valid_samples
from tests.machine.single import SingleKeyCalls
from tests.machine.weighted import weighted


class StoreMachine(SingleKeyCalls):
    """Each rule makes one call in one namespace of the store, and the same call of the model."""

    # Many keys.

    @rule(path=where, some=st.lists(names, max_size=5), form=forms, strict=st.booleans())
    def get_many(self, path: Any, some: list[Name], form: Any, strict: bool) -> None:
        as_: Any = self.form(path, some[0], form) if some else None
        self.check(
            path,
            lambda store: store.get_many([name.arg for name in some], as_=as_, strict=strict),
            lambda view: view.get_many(some, as_, strict=strict),
        )

    @rule(
        path=where,
        writes=st.lists(st.tuples(names, valid_samples), max_size=5),
        last=st.lists(st.tuples(names, samples), max_size=1),
        expires=expires_or_keep,
    )
    def set_many(self, path: Any, writes: Any, last: Any, expires: AnyExpires) -> None:
        end = self.at(expires)
        # Like a dict: each key once, with its last value, in its first position.
        once = {name.arg: (name, sample) for name, sample in writes + last}
        self.check(
            path,
            lambda store: store.set_many(
                {arg: sample.value for arg, (_, sample) in once.items()}, expires=end.arg
            ),
            lambda view: view.set_many(list(once.values()), end),
        )

    @rule(
        path=where,
        writes=st.lists(st.tuples(names, valid_samples), max_size=5),
        last=st.lists(st.tuples(names, samples), max_size=1),
        expires=expires,
    )
    def create_many(self, path: Any, writes: Any, last: Any, expires: AnyExpires) -> None:
        end = self.at(expires)
        once = {name.arg: (name, sample) for name, sample in writes + last}
        self.check(
            path,
            lambda store: store.create_many(
                {arg: sample.value for arg, (_, sample) in once.items()}, expires=end.arg
            ),
            lambda view: view.create_many(list(once.values()), end),
        )

    @rule(path=where, some=st.lists(names, max_size=5))
    def remove_many(self, path: Any, some: list[Name]) -> None:
        self.check(
            path,
            lambda store: store.remove_many([name.arg for name in some]),
            lambda view: view.remove_many(some),
        )

    # The whole store.

    @rule(path=where, prefix=under)
    def keys(self, path: Any, prefix: Any) -> None:
        self.check(
            path,
            lambda store: self.place.listed(store.keys(prefix)),
            lambda view: view.keys(prefix),
        )

    @rule(path=where, prefix=under)
    def items(self, path: Any, prefix: Any) -> None:
        self.check(
            path,
            lambda store: [
                (key, item.value, item.expires_at)
                for key, item in sorted(dict(store.items(prefix)).items())
            ],
            lambda view: [
                (key, entry.sample.plain, entry.end and to_moment(entry.end.first))
                for key, entry in sorted(view.items(prefix))
            ],
        )

    @rule(path=where, prefix=under)
    def count(self, path: Any, prefix: Any) -> None:
        self.check(
            path,
            lambda store: self.place.counted(store, prefix),
            lambda view: view.count(prefix),
        )

    @rule(path=where, prefix=under)
    def clear(self, path: Any, prefix: Any) -> None:
        self.check(path, lambda store: store.clear(prefix), lambda view: view.clear(prefix))

    @rule(path=where, batch_size=st.integers(1, 3))
    def purge(self, path: Any, batch_size: int) -> None:
        purged = self.stores[path][0].purge(batch_size)
        assert self.place.may_purge(purged, self.model.purge())
        assert self.place.beneath.driver.expired() == 0

    # Time.

    @rule(span=times(lambda times: times.spans))
    def let_time_pass(self, span: int) -> None:
        self.place.elapse(span * MICROSECOND)
        if not self.model.exact:
            self.model.age(span)

    @rule(pick=st.integers(0, 20), beside=weighted((3, st.just(0)), (1, st.integers(-1, 1))))
    def go_to_an_end(self, pick: int, beside: int) -> None:
        """Move the clock to the moment at which an entry expires, or a microsecond beside it."""
        ends = sorted(
            (entry.end.first + beside, key.removeprefix(PREFIX))
            for key, entry in self.model.live().items()
            if entry.end is not None and key.startswith(PREFIX)
        )
        if self.model.exact and ends:
            end, key = ends[pick % len(ends)]
            span = end - micros()
            if 0 <= span < 10**15:  # So that the clock stays in the range of datetime.
                self.place.elapse(span * MICROSECOND)
                self.look_at(plain_name(key))

    def look_at(self, name: Name) -> None:
        self.contains((), name)
        self.get((), name, None, strict=False)
        self.get_item((), name, None, strict=False)
        self.get_many((), [name], None, strict=False)
