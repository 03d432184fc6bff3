"""The calls for one key."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from django_persist import KEEP, REMOVE, Store
from django_persist.exceptions import PersistError
from tests.machine.checked import (
    CheckedMachine,
    bounds,
    counted,
    expires,
    expires_or_keep,
    known,
    names,
    where,
)
from tests.machine.expires import AnyExpires, Expires, to_moment
from tests.machine.model import ABSENT
from tests.machine.samples import (
    Name,
    Sample,
    forms,
    json_sample,
    plain_name,
    read_forms,
    samples,
    upgraded_name,
)
from tests.machine.shelves import CLASSES, ShelfChange, older, shelves, upgrade
from tests.machine.view import BoomError, ChangeKind, View, changed
from tests.machine.weighted import weighted


class SingleKeyCalls(CheckedMachine):
    @rule(path=where, name=names, sample=samples, expires=expires)
    def create(self, path: Any, name: Name, sample: Sample, expires: AnyExpires) -> None:
        end = self.at(expires)
        self.check(
            path,
            lambda store: store.create(name.arg, sample.value, expires=end.arg),
            lambda view: view.create(name, sample, end),
        )

    @rule(path=where, name=names, sample=samples, expires=expires_or_keep)
    def set(self, path: Any, name: Name, sample: Sample, expires: AnyExpires) -> None:
        end = self.at(expires)
        self.check(
            path,
            lambda store: store.set(name.arg, sample.value, expires=end.arg),
            lambda view: view.set(name, sample, end),
        )

    @rule(path=where, name=names, form=read_forms, strict=st.booleans())
    def get(self, path: Any, name: Name, form: Any, strict: bool) -> None:
        as_ = self.form(path, name, form)
        self.check(
            path,
            lambda store: store.get(name.arg, ABSENT, as_=as_, strict=strict),
            lambda view: view.get(name, as_, strict=strict),
        )

    @rule(path=where, name=names, form=read_forms, strict=st.booleans())
    def get_item(self, path: Any, name: Name, form: Any, strict: bool) -> None:
        as_ = self.form(path, name, form)

        def read(store: Store) -> Any:
            item = store.get_item(name.arg, as_=as_, strict=strict)
            return (ABSENT, None) if item is None else (item.value, item.expires_at)

        def wanted(view: View) -> Any:
            value = view.get(name, as_, strict=strict)
            entry = self.model.entries.get(view.key(name))
            # The invariant has found out when it expires, to the millisecond or finer.
            end = entry.end if entry and value is not ABSENT else None
            return value, end and to_moment(end.first)

        self.check(path, read, wanted)

    @rule(path=where, name=names)
    def contains(self, path: Any, name: Name) -> None:
        self.check(path, lambda store: name.arg in store, lambda view: view.contains(name))

    @rule(path=where, name=names)
    def remove(self, path: Any, name: Name) -> None:
        self.check(path, lambda store: store.remove(name.arg), lambda view: view.remove(name))

    @rule(path=where, name=names, expires=expires)
    def touch(self, path: Any, name: Name, expires: AnyExpires) -> None:
        end = self.at(expires)
        self.check(
            path,
            lambda store: store.touch(name.arg, end.arg),
            lambda view: view.touch(name, end),
        )

    # Versions. One that was read some steps ago is mostly no longer that of the entry.

    @rule(path=where, name=names)
    def take_version(self, path: Any, name: Name) -> None:
        if name.error is None:
            with suppress(PersistError):
                item = self.stores[path][0].get_item(name.text)
                if item is not None:
                    entry = self.stores[path][1].live_entry(name)
                    self.version = item.version, None if entry is None else entry.sample.plain

    @rule(path=where, name=names, sample=samples, expires=st.just(Expires(KEEP)) | expires_or_keep)
    def replace(self, path: Any, name: Name, sample: Sample, expires: AnyExpires) -> None:
        end = self.at(expires)
        version, plain = self.version
        self.check(
            path,
            lambda store: store.replace(name.arg, sample.value, version, expires=end.arg),
            lambda view: view.replace(name, sample, plain, end),
        )

    @rule(path=where, name=names)
    def remove_version(self, path: Any, name: Name) -> None:
        version, plain = self.version
        self.check(
            path,
            lambda store: store.remove(name.arg, version=version),
            lambda view: view.remove_version(name, plain),
        )

    # Calls that read and write.

    @rule(path=where, name=names, form=read_forms, strict=st.booleans())
    def pop(self, path: Any, name: Name, form: Any, strict: bool) -> None:
        as_ = self.form(path, name, form)
        self.check(
            path,
            lambda store: store.pop(name.arg, ABSENT, as_=as_, strict=strict),
            lambda view: view.pop(name, as_, strict=strict),
        )

    @rule(
        path=where,
        name=names,
        kind=st.sampled_from(ChangeKind),
        new=samples,
        default=samples | st.none(),
        is_called=st.booleans(),
        form=weighted((2, st.none()), (1, forms)),
        expires=st.just(Expires(KEEP)) | expires_or_keep,
    )
    def update(
        self,
        path: Any,
        name: Name,
        kind: ChangeKind,
        new: Sample,
        default: Sample | None,
        is_called: bool,
        form: Any,
        expires: AnyExpires,
    ) -> None:
        as_, end = self.form(path, name, form), self.at(expires)
        if kind is ChangeKind.CHANGE:
            # The model knows a changed value only as JSON.
            as_ = Any
        seen: list[Any] = []

        def change(old: Any) -> Any:
            seen.append(copy.deepcopy(old))
            if kind is ChangeKind.RAISE:
                raise BoomError
            if kind is ChangeKind.REMOVE:
                return REMOVE
            if kind is ChangeKind.REPLACE:
                return new.value
            changed(old)
            return old if kind is ChangeKind.CHANGE else None

        def call(store: Store) -> Any:
            start = () if default is None else (_default(default, is_called=is_called),)
            result = store.update(name.arg, change, *start, as_=as_, expires=end.arg)
            return result, *seen

        self.check(path, call, lambda view: view.update(name, kind, new, default, as_, end))

    @rule(
        path=where,
        text=known,
        stored=st.none() | shelves | shelves.map(older),
        cls=st.sampled_from(CLASSES),
        change=st.sampled_from(ShelfChange),
        upgraded=st.booleans(),
    )
    def update_what_other_code_stored(
        self,
        path: Any,
        text: str,
        stored: Any,
        cls: Any,
        change: ShelfChange,
        upgraded: bool,
    ) -> None:
        if stored is not None:
            self.set(path, plain_name(text), json_sample(stored), Expires(KEEP))
        name = upgraded_name(text, cls, upgrade) if upgraded else plain_name(text)
        self.check(
            path,
            lambda store: store.update(
                name.arg, change.function(cls), as_=None if upgraded else cls
            ),
            lambda view: view.update_shelf(name, change, cls, upgraded=upgraded),
        )

    @rule(
        path=where,
        name=names,
        default=samples,
        is_called=st.booleans(),
        form=forms,
        expires=expires,
    )
    def get_or_create(
        self,
        path: Any,
        name: Name,
        default: Sample,
        is_called: bool,
        form: Any,
        expires: AnyExpires,
    ) -> None:
        as_, end = self.form(path, name, form), self.at(expires)
        start = _default(default, is_called=is_called)
        self.check(
            path,
            lambda store: store.get_or_create(name.arg, start, as_=as_, expires=end.arg),
            lambda view: view.get_or_create(name, default, as_, end),
        )

    @rule(path=where, name=names, by=counted, expires=expires, low=bounds, high=bounds)
    def incr(
        self, path: Any, name: Name, by: Any, expires: AnyExpires, low: Any, high: Any
    ) -> None:
        end = self.at(expires)
        self.check(
            path,
            lambda store: store.incr(name.arg, by, expires=end.arg, at_least=low, at_most=high),
            lambda view: view.incr(name, by, end, low, high),
        )


def _default(sample: Sample, *, is_called: bool) -> Any:
    return (lambda: sample.value) if is_called or callable(sample.value) else sample.value
