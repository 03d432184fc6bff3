"""The form of an entry. It keeps the rules of the store, and overwrites nothing unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from .stored import StoredText, has_expired, version

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Entry]
else:
    ModelForm = forms.ModelForm


class ValueFormField(forms.CharField):
    """A value as JSON text.

    A text that is not changed, or is changed only to an equal value, keeps the stored bytes.
    """

    widget = AdminTextareaWidget(attrs={"spellcheck": "false", "rows": 12})
    original: str | None = None
    """The text that the form was opened with, or None if that is not JSON."""

    def clean(self, value: Any) -> Any:
        text = _unix_newlines(super().clean(value))
        return codec.decode(text, key="") if text == self.original else parse_json(text)

    def has_changed(self, initial: Any, data: Any) -> bool:
        text = _unix_newlines(data or "")
        if self.original is None or text == self.original:
            return self.original is None
        try:
            # The text may differ only in spaces and line breaks.
            return codec.encode(parse_json(text)) != codec.encode(parse_json(self.original))
        except (ValidationError, EncodeError):
            return True


def _unix_newlines(text: str) -> str:
    """Return text from a form with its original line breaks: browsers send CR LF."""
    return text.replace("\r\n", "\n")


def parse_json(text: str) -> Any:
    """Return the value of a JSON text that a user has typed. Raises ValidationError."""
    try:
        return json.loads(text, object_pairs_hook=_unique_names)
    except json.JSONDecodeError as error:
        raise ValidationError(
            _("Enter valid JSON: %(reason)s (line %(line)d, column %(column)d)."),
            code="invalid",
            params={"reason": error.msg, "line": error.lineno, "column": error.colno},
        ) from None
    except RecursionError:
        raise ValidationError(
            _("The value is nested deeper than %(depth)d levels."),
            code="invalid",
            params={"depth": codec.MAX_DEPTH},
        ) from None
    except ValueError:
        raise ValidationError(_("A number has too many digits."), code="invalid") from None


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict. Raises ValidationError if a name occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, value in pairs]
        raise ValidationError(
            _("The name %(name)s occurs twice in one object. Only one of them would be kept."),
            code="invalid",
            params={"name": json.dumps(next(n for n in names if names.count(n) > 1))},
        )
    return found


class ExpiresAtFormField(forms.SplitDateTimeField):
    """A date and time in the project's time zone, whether or not USE_TZ is on.

    One that is not changed keeps its microseconds, which the widget doesn't show, and its offset
    in the hour that a clock change repeats.
    """

    widget = AdminSplitDateTime
    original: datetime | None = None
    """The date and time that the form was opened with."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime) and timezone.is_aware(value) and not settings.USE_TZ:
            return timezone.make_naive(value, timezone.get_default_timezone())
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        # The widget shows no microseconds.
        shown = self.prepare_value(initial and initial.replace(microsecond=0))
        return super().has_changed(shown, data)

    def clean(self, value: Any) -> Any:
        if self.original is not None and not self.has_changed(self.original, value):
            return self.original
        cleaned = super().clean(value)
        if cleaned is not None and timezone.is_naive(cleaned):
            return timezone.make_aware(cleaned, timezone.get_default_timezone())
        return cleaned


class EntryForm(ModelForm):
    """The key, value and expiry of an entry. `encoded` and `expiry` are what is to be written."""

    key = forms.CharField(
        label=_("Key"), max_length=COLUMN_LENGTH, strip=False, widget=AdminTextInputWidget
    )
    text = ValueFormField(
        label=_("Value"),
        help_text=_('JSON. A text is in double quotes: "tea", but 12, true, null, ["a", 1].'),
    )
    expires_at = ExpiresAtFormField(label=_("Expires at"), required=False)
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    database: str
    url_of: Callable[[str], str]
    """Returns the address of an entry, or "" if the user may not view entries."""
    encoded: bytes | None = None
    """The new text of the value, or None if the stored bytes stay."""
    expiry: Expiry = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = StoredText.of(self.instance)
        self.original_expires_at = self.instance.expires_at
        self.had_expired = has_expired(self.original_expires_at)
        self.initial["version"] = version(self.instance)
        if "expires_at" in self.fields:
            field = self.fields["expires_at"]
            field.original = self.original_expires_at  # type: ignore[attr-defined]
            field.help_text = _("In the time zone %(zone)s. Leave it empty for never.") % {
                "zone": timezone.get_current_timezone_name()
            }
        if stored is None or "text" not in self.fields:
            return
        self.initial["text"] = stored.pretty
        if stored.is_corrupt:
            self.fields["text"].help_text = _(
                "The stored text is not JSON. Correct and save it, or delete the entry."
            )
        else:
            self.fields["text"].original = stored.pretty  # type: ignore[attr-defined]

    def validate_unique(self) -> None:
        """Do nothing. `clean` checks that instead, since an expired entry may be overwritten."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        driver = DatabaseDriver(self.database)
        if self.instance._state.adding:
            self._check_key(driver)
        elif (conflict := self._conflict()) is not None:
            raise conflict
        self._check_value(driver)
        if "expires_at" in cleaned:
            try:
                self.expiry = parse(cleaned["expires_at"])
                expires_at_micros(self.expiry, now())
            except InvalidExpiryError as error:
                self.add_error("expires_at", str(error))
        return cleaned

    def _conflict(self) -> ValidationError | None:
        """Return an error if the entry has changed since the form was opened, else None."""
        stored = StoredText.of(self.instance)
        if stored is None:
            message = _("The entry was deleted after you opened it. Nothing was saved.")
            return ValidationError(message, code="conflict")
        if self.cleaned_data.get("version") == version(self.instance):
            return None
        message = (
            _("The entry has expired since you opened it. Nothing was saved.")
            if has_expired(self.original_expires_at)
            else _("The entry has changed since you opened it. Nothing was saved.")
        )
        html = format_html('{} <a href="">{}</a>', message, _("Open the current entry."))
        if stored.can_be_edited and not has_expired(self.original_expires_at):
            # Only what is shown may be overwritten: the next submission is checked against it.
            current = {self.add_prefix("version"): version(self.instance)}
            self.data = dict(self.data.items()) | current
            html = format_html(
                '{} {}<pre class="persist-value">{}</pre>',
                html,
                _("Its value is now as below. Save again to replace it with yours:"),
                stored.pretty,
            )
        return ValidationError(html, code="conflict")

    def _check_key(self, driver: DatabaseDriver) -> None:
        key = self.cleaned_data.get("key")
        if key is None:
            return
        store = store_of(key, driver)
        if store is None:
            known = ", ".join(map(repr, prefixes(driver)))
            message = _("No store uses this key. It must begin with one of these PREFIXes: %s.")
            self.add_error("key", message % known)
            return
        try:
            store.keyspace.full(key.removeprefix(store.place().prefix))
        except InvalidKeyError as error:
            self.add_error("key", str(error))
            return
        if driver.contains(key):
            url = self.url_of(key)
            link = format_html(' <a href="{}">{}</a>', url, _("Open it.")) if url else ""
            message = _("An entry with this key already exists.")
            self.add_error("key", format_html("{}{}", message, link))

    def _check_value(self, driver: DatabaseDriver) -> None:
        key = self.cleaned_data.get("key") or self.instance.key
        stored = StoredText.of(self.instance)
        if "text" not in self.cleaned_data or (stored and "text" not in self.changed_data):
            return
        store = store_of(key, driver) or Store(driver)
        try:
            self.encoded = store.keyspace.encode(self.cleaned_data["text"])
            driver.sql.check_packet(key, self.encoded.decode(), stored.raw if stored else "")
        except EncodeError as error:
            self.add_error("text", str(error))
