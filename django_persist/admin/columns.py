"""How an entry is shown: escaped, truncated if it is long, and with times in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..expiry import from_micros, now
from ..models import Entry
from .stored import StoredText, has_expired

SHOWN_CHARS: Final = 10_000
"""How many characters are shown of a value that is too large to be edited."""


class EntryColumns:
    """The columns of the list, which are also the read-only fields of the form."""

    @admin.display(description=gettext_lazy("key"))
    def exact_key(self, entry: Entry) -> str:
        # Since Django 6.1 the admin strips what it shows, but " a" and "a" are different keys.
        return format_html('<span class="persist-key">{}</span>', entry.key)

    @admin.display(description=gettext_lazy("size"))
    def size(self, entry: Entry) -> str:
        stored = StoredText.of(entry)
        if stored is None:
            return "-"
        exact = ngettext("%s byte", "%s bytes", stored.size) % number_format(
            stored.size, force_grouping=True
        )
        return format_html('<span title="{}">{}</span>', exact, filesizeformat(stored.size))

    @admin.display(description=gettext_lazy("value"))
    def short_value(self, entry: Entry) -> str:
        stored = StoredText.of(entry)
        assert stored is not None
        if stored.is_corrupt:
            html = '<span class="persist-corrupt">{}</span> <code>{}</code>'
            return format_html(html, _("Not JSON:"), stored.short)
        return format_html("<code>{}</code>", stored.short)

    @admin.display(description=gettext_lazy("time left"))
    def time_left(self, entry: Entry) -> str:
        expires_at = entry.expires_at
        if expires_at is None:
            return format_html('<span class="quiet">{}</span>', _("never expires"))
        current = from_micros(now())
        is_past = has_expired(expires_at)
        is_near = abs(expires_at - current) < timedelta(minutes=1)
        if is_past:
            text = _("expired %s ago") % (
                _("less than a minute") if is_near else timesince(expires_at, current, depth=1)
            )
        else:
            text = _("in %s") % (
                _("less than a minute") if is_near else timeuntil(expires_at, current, depth=1)
            )
        return format_html(
            '<time datetime="{}" title="{}" class="{}">{}</time>',
            expires_at.isoformat(),
            timezone.localtime(expires_at, timezone.get_current_timezone()).isoformat(" "),
            "persist-expired" if is_past else "",
            text,
        )

    @admin.display(description=gettext_lazy("value"))
    def whole_value(self, entry: Entry) -> str:
        stored = StoredText.of(entry)
        assert stored is not None
        shown, note = stored.pretty, ""
        if not stored.can_be_edited:
            shown = shown[:SHOWN_CHARS]
            note = _("Only the beginning is shown.")
        elif stored.is_corrupt:
            note = _("The stored text is not JSON.")
        html = '<pre class="persist-value">{}</pre><div class="persist-note">{}</div>'
        return format_html(html, shown, note)
