"""A model of the project's own, with the ORM calls that a project would write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..contenders import Change, Contender
from ..models import Plain
from ..servers import LIFETIME


class OrmModel(Contender):
    name = "ORM model"
    remarks = {"create": "get_or_create: an expired entry counts as a duplicate"}

    def __init__(self, using: str) -> None:
        self.using = using
        # Django rejects unique_fields on MySQL, where an upsert applies to every unique key.
        self.unique = None if connections[using].vendor == "mysql" else ["key"]

    def _rows(self) -> QuerySet[Plain]:
        return Plain.objects.using(self.using)

    def _live(self) -> QuerySet[Plain]:
        return self._rows().filter(expires_at__gt=timezone.now())

    def get(self, key: str) -> Any:
        row = self._live().filter(key=key).first()
        return None if row is None else row.value

    def set(self, key: str, value: Any) -> None:
        self._rows().update_or_create(key=key, defaults=_columns(value))

    def create(self, key: str, value: Any) -> bool:
        return self._rows().get_or_create(key=key, defaults=_columns(value))[1]

    def incr(self, key: str) -> int:
        return int(self.update(key, lambda count: count + 1))

    def pop(self, key: str) -> Any:
        with transaction.atomic(self.using):
            row = self._live().select_for_update().get(key=key)
            row.delete()
        return row.value

    def update(self, key: str, change: Change) -> Any:
        with transaction.atomic(self.using):
            row = self._live().select_for_update().get(key=key)
            row.value = change(row.value)
            row.save(update_fields=["value"])
        return row.value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return dict(self._live().filter(key__in=keys).values_list("key", "value"))

    def set_many(self, mapping: dict[str, Any]) -> None:
        self._rows().bulk_create(
            [Plain(key=key, **_columns(value)) for key, value in mapping.items()],
            update_conflicts=True,
            update_fields=["value", "expires_at"],
            unique_fields=self.unique,
        )

    def remove_many(self, keys: list[str]) -> None:
        self._rows().filter(key__in=keys).delete()

    def keys(self, prefix: str) -> Iterable[str]:
        return self._live().filter(key__startswith=prefix).values_list("key", flat=True)


def _columns(value: Any) -> dict[str, Any]:
    return {"value": value, "expires_at": timezone.now() + timedelta(seconds=LIFETIME)}
