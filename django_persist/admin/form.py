"""The form of an entry: the rules of the store, and nothing written over what has changed since."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import (
    AdminSplitDateTime,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from .. import codec
from ..drivers.database import DatabaseDriver
from ..exceptions import EncodeError, InvalidExpiryError, InvalidKeyError
from ..expiry import Expiry, expires_at_micros, now, parse
from ..models import COLUMN_LENGTH, Entry
from ..store import Store
from .databases import prefixes, store_of
from .stored import Stored, has_expired, version

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Entry]
else:
    ModelForm = forms.ModelForm


class ValueField(forms.CharField):
    """A value as JSON text. What the store refuses is refused; what wasn't touched is as it was."""

    widget = AdminTextareaWidget(attrs={"spellcheck": "false", "rows": 12})
    seen: str | None = None
    """The text that was shown, if it is JSON."""

    def clean(self, value: Any) -> Any:
        text = _lines(super().clean(value))
        return codec.decode(text, key="") if text == self.seen else parse_json(text)

    def has_changed(self, initial: Any, data: Any) -> bool:
        text = _lines(data or "")
        if self.seen is None or text == self.seen:
            return self.seen is None
        try:
            # It may be another way to write what is there.
            return codec.encode(parse_json(text)) != codec.encode(parse_json(self.seen))
        except (ValidationError, EncodeError):
            return True


def _lines(text: str) -> str:
    """Return a text with the ends of lines that it had before a browser sent it."""
    return text.replace("\r\n", "\n")


def parse_json(text: str) -> Any:
    """Return the value of a JSON text that someone wrote. Raises ValidationError."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValidationError(
            _("Enter valid JSON: %(reason)s (line %(line)d, column %(column)d)."),
            code="invalid",
            params={"reason": error.msg, "line": error.lineno, "column": error.colno},
        ) from None
    except RecursionError:
        raise ValidationError(
            _("The value is nested deeper than %(levels)d levels."),
            code="invalid",
            params={"levels": codec.MAX_DEPTH},
        ) from None
    except ValueError:
        raise ValidationError(_("A number has too many digits."), code="invalid") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, value in pairs]
        raise ValidationError(
            _("The name %(name)s stands twice in one object: only one of them would be kept."),
            code="invalid",
            params={"name": json.dumps(next(n for n in names if names.count(n) > 1))},
        )
    return found


class MomentField(forms.SplitDateTimeField):
    """A moment, shown and taken in the project's time zone, whether or not USE_TZ is on.

    One that wasn't touched is what it was, to the microsecond, and in the hour that comes twice.
    """

    widget = AdminSplitDateTime
    seen: datetime | None = None

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime) and timezone.is_aware(value) and not settings.USE_TZ:
            return timezone.make_naive(value, timezone.get_default_timezone())
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        # The widget shows no microseconds.
        shown = self.prepare_value(initial and initial.replace(microsecond=0))
        return super().has_changed(shown, data)

    def clean(self, value: Any) -> Any:
        if self.seen is not None and not self.has_changed(self.seen, value):
            return self.seen
        moment = super().clean(value)
        if moment is not None and timezone.is_naive(moment):
            return timezone.make_aware(moment, timezone.get_default_timezone())
        return moment


class EntryForm(ModelForm):
    """Key, value and expiry of an entry; what is to be written is in `encoded` and `expiry`."""

    key = forms.CharField(
        label=_("Key"), max_length=COLUMN_LENGTH, strip=False, widget=AdminTextInputWidget
    )
    text = ValueField(label=_("Value"))
    expires_at = MomentField(label=_("Expires at"), required=False)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    database: str
    encoded: bytes | None = None
    """The text of the value, or None where it stays as it is, byte for byte."""
    expiry: Expiry = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = Stored.of(self.instance)
        self.seen = self.instance.expires_at
        self.had_expired = has_expired(self.seen)
        self.initial["version"] = version(self.instance)
        if "expires_at" in self.fields:
            field = self.fields["expires_at"]
            field.seen = self.seen  # type: ignore[attr-defined]
            field.help_text = _("In the time zone %(zone)s; leave it empty for never.") % {
                "zone": timezone.get_current_timezone_name()
            }
        if stored is None or "text" not in self.fields:
            return
        self.initial["text"] = stored.pretty
        if stored.is_corrupt:
            self.fields["text"].help_text = _(
                "What is stored is not JSON. Put it right and save it, or delete the entry."
            )
        else:
            self.fields["text"].seen = stored.pretty  # type: ignore[attr-defined]

    def validate_unique(self) -> None:
        """Leave that to `clean`: an entry that has expired is in nobody's way."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        driver = DatabaseDriver(self.database)
        if self.instance._state.adding:
            self._check_key(driver)
        elif (overtaken := self._overtaken()) is not None:
            raise overtaken
        self._check_value(driver)
        if "expires_at" in cleaned:
            try:
                self.expiry = parse(cleaned["expires_at"])
                expires_at_micros(self.expiry, now())
            except InvalidExpiryError as error:
                self.add_error("expires_at", str(error))
        return cleaned

    def _overtaken(self) -> ValidationError | None:
        """Return the error where the entry isn't what it was when the form was loaded."""
        if self.cleaned_data.get("version") == version(self.instance):
            return None
        if Stored.of(self.instance) is None:
            message = _("The entry was deleted after you opened it. Nothing was saved.")
            return ValidationError(message, code="overtaken")
        message = (
            _("The entry has expired since you opened it. Nothing was saved.")
            if has_expired(self.seen)
            else _("The entry has changed since you opened it. Nothing was saved.")
        )
        link = format_html('{} <a href="">{}</a>', message, _("Open it as it is now."))
        return ValidationError(link, code="overtaken")

    def _check_key(self, driver: DatabaseDriver) -> None:
        key = self.cleaned_data.get("key")
        if key is None:
            return
        store = store_of(key, driver)
        if store is None:
            known = ", ".join(map(repr, prefixes(driver)))
            message = _("No store would find this key: it has to begin with a PREFIX, one of %s.")
            self.add_error("key", message % known)
            return
        try:
            store.keyspace.full(key.removeprefix(store.place().prefix))
        except InvalidKeyError as error:
            self.add_error("key", str(error))
            return
        if driver.contains(key):
            self.add_error("key", _("There is an entry of this key already."))

    def _check_value(self, driver: DatabaseDriver) -> None:
        key = self.cleaned_data.get("key") or self.instance.key
        stored = Stored.of(self.instance)
        if "text" not in self.cleaned_data or (stored and "text" not in self.changed_data):
            return
        store = store_of(key, driver) or Store(driver)
        try:
            self.encoded = store.keyspace.encode(self.cleaned_data["text"])
            driver.sql.check_packet((key, self.encoded.decode(), stored.seen if stored else ""))
        except EncodeError as error:
            self.add_error("text", str(error))
