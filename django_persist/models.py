"""The table of the database driver, and the fields of its three columns.

The column types are chosen for exactness and speed, not for JSON operators in SQL:

- `key` is text that is compared byte for byte: with COLLATE "C" on PostgreSQL, the binary no-pad
  collation on MariaDB and MySQL (their `_bin` collations ignore trailing spaces), and BINARY on
  SQLite.
- `value` is JSON text, not the vendor's JSON type. PostgreSQL's jsonb turns 1e22 into an integer
  and refuses \\u0000, MariaDB's JSON refuses 32 levels, and MySQL's rewrites floats. Text keeps
  every byte, is faster for large values, and makes compare-and-swap a plain `=`.
- `expires_at` is a bigint: microseconds since 1970 in UTC. TIME_ZONE, USE_TZ, the time zone of the
  session and daylight saving time don't affect it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from . import codec
from .exceptions import DecodeError, EncodeError, InvalidExpiryError
from .expiry import from_micros, parse, to_micros
from .keys import MAX_LENGTH, check

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
    TextField = models.TextField[Any, Any]
    Field = models.Field[datetime | None, datetime | None]
    QuerySet = models.QuerySet["Entry"]
    EntryIterable = ModelIterable["Entry"]
else:
    CharField, TextField, Field = models.CharField, models.TextField, models.Field
    QuerySet, EntryIterable = models.QuerySet, ModelIterable

COLUMN_LENGTH = MAX_LENGTH + 64
"""Room for a key with the longest PREFIX before it."""


NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no XML can hold."""


def _is_called_for_xml() -> bool:
    """Return whether Django's XML serializer has called the method that calls this."""
    caller = sys._getframe(2)
    return caller.f_globals.get("__name__") == "django.core.serializers.xml_serializer"


def exact_collation(connection: BaseDatabaseWrapper) -> str | None:
    """Return the collation with which only identical texts are equal."""
    if connection.vendor == "postgresql":
        return "C"
    if connection.vendor == "mysql":
        mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
        return "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    return None


class KeyField(CharField):
    """Text that is compared exactly on every database."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        # The full name of varchar. For "varchar", Django adds an index for LIKE on PostgreSQL,
        # which COLLATE "C" makes unnecessary, and warns about more than 255 characters on MySQL,
        # whose indexes have long accepted 768.
        return f"character varying({self.max_length})"

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": exact_collation(connection)}

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        # save(), bulk_create() and loaddata don't validate.
        return check(value, COLUMN_LENGTH) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> Any:
        key = self.value_from_object(obj)
        if _is_called_for_xml() and NOT_IN_XML.search(key):
            # Django checks the characters of other fields, but not those of a primary key.
            raise ValueError(f"XML can't hold the key {key!r}: dump it as JSON.")
        return key


class ValueField(TextField):
    """A Python value, stored as JSON text that is kept byte for byte."""

    # The types that the mypy plugin of django-stubs uses; those of a TextField are str.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    encoder = decoder = None
    """A JSONField's classes for JSON in XML: those of the json module."""

    def get_internal_type(self) -> str:
        # XML has no JSON, so that Django's serializer writes a field of this type as JSON text.
        # To everything else the field is text.
        return "JSONField" if _is_called_for_xml() else super().get_internal_type()

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": exact_collation(connection)}

    def from_db_value(self, text: str | None, *args: Any) -> Any:
        return None if text is None else codec.decode(text, key="value")

    def get_prep_value(self, value: Any) -> Any:
        return codec.encode(value).decode()

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> Any:
        return self.value_from_object(obj)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        try:
            codec.encode(value)
        except EncodeError as error:
            raise ValidationError(str(error), code="invalid") from error

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": forms.JSONField, **kwargs})


class RawValue(models.Func):
    """The stored text of `value`, or only its first `characters`, without decoding the JSON.

    On SQLite it is bytes, as in the driver, so that text that is not UTF-8 can be read too.
    """

    template = "%(expressions)s"
    first_characters = "SUBSTR(%(expressions)s, 1, %(characters)s)"

    def __init__(self, characters: int | None = None) -> None:
        extra: dict[str, Any] = {}
        if characters is not None:
            extra = {"template": self.first_characters, "characters": characters}
        super().__init__(models.F("value"), output_field=models.TextField(), **extra)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        template = self.extra.get("template", self.template)
        blob = template.replace("%(expressions)s", "CAST(%(expressions)s AS BLOB)")
        return self.as_sql(compiler, connection, **{**context, "template": blob})


class MomentFormField(forms.DateTimeField):
    """A time in the project's time zone, whether or not USE_TZ is on."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime) and timezone.is_aware(value) and not settings.USE_TZ:
            value = timezone.make_naive(value, timezone.get_default_timezone())
        return super().prepare_value(value)

    def to_python(self, value: Any) -> datetime | None:
        return _make_aware(super().to_python(value))


class MomentField(Field):
    """An aware datetime in UTC, exact to the microsecond, whatever TIME_ZONE and USE_TZ are."""

    description = _("Date and time in UTC")

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "bigint"

    def from_db_value(self, micros: int | None, *args: Any) -> datetime | None:
        return None if micros is None else from_micros(micros)

    def get_prep_value(self, value: Any) -> int | None:
        value = self.to_python(super().get_prep_value(value))
        return None if value is None else to_micros(value)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        # save(), bulk_create() and loaddata don't validate.
        if isinstance(value, str | datetime):
            value = parse(self.to_python(value))
        return super().get_db_prep_save(value, connection)

    def validate(self, value: datetime | None, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        try:
            parse(value)
        except InvalidExpiryError as error:
            raise ValidationError(str(error), code="invalid") from error

    def to_python(self, value: Any) -> datetime | None:
        return _make_aware(_parse(value) if isinstance(value, str) else value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else value.isoformat()

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": MomentFormField, **kwargs})


def _parse(text: str) -> datetime:
    try:
        value = parse_datetime(text)
    except ValueError:  # for example the 30th of February
        value = None
    if value is None:
        raise ValidationError(_("Enter a valid date and time."), code="invalid")
    return value


def _make_aware(value: datetime | None) -> datetime | None:
    """Return an aware datetime; a naive one is taken as a time in TIME_ZONE."""
    if isinstance(value, datetime) and timezone.is_naive(value):
        return timezone.make_aware(value, timezone.get_default_timezone())
    return value


class NamingIterable(EntryIterable):
    """Entries, with an error that names the one that is corrupt: its field doesn't know the key."""

    def __iter__(self) -> Iterator[Entry]:
        try:
            yield from super().__iter__()
            return
        except DecodeError as error:
            # Only its text is kept, because its traceback would keep the cursor open.
            message = str(error)
        for key, text in self.queryset.values_list("key", RawValue()).iterator():
            codec.decode(text, key=key)
        raise DecodeError(message)


class EntryQuerySet(QuerySet):
    """The entries of one database as model instances. A corrupt one raises DecodeError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._iterable_class = NamingIterable


EntryManager = models.Manager.from_queryset(EntryQuerySet)


class Entry(models.Model):
    """One entry of the database driver. The module explains the types of the columns."""

    key = KeyField(_("key"), primary_key=True, max_length=COLUMN_LENGTH)
    value = ValueField(_("value"), blank=True)
    expires_at = MomentField(_("expires at"), null=True, blank=True)

    objects = EntryManager()

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        indexes = [models.Index(fields=["expires_at"], name="django_persist_expires_at")]

    def __str__(self) -> str:
        return str(self.key)
