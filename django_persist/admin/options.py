"""EntryAdmin, the ModelAdmin of entries.

The list reads only one page of rows, and only the beginning of each value: see `listing`. The form
keeps the rules of the store, and never overwrites a change that its user has not seen: see `form`.
Values are users' data. They are shown, escaped, but never put into a message, log or history.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import QuerySet, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from ..backoff import attempts
from ..drivers.database import DatabaseDriver
from ..drivers.database.connection import Connection
from ..exceptions import ContentionError, InvalidKeyError
from ..keys import check_characters
from ..keyspace import CHUNK
from ..models import Entry, RawValue
from .columns import EntryColumns
from .databases import databases
from .form import EntryForm
from .listing import KEY_SEGMENTS, LOOKED, EntryChangeList, StateFilter, change_url, search
from .parts import PartFilter
from .stored import MAX_EDITABLE_CHARS, StoredText, ValueSize, has_expired
from .stores import other_stores, store_view

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Entry]
    Entries = QuerySet[Entry]
else:
    ModelAdmin = admin.ModelAdmin

LISTED_CHARS: Final = 4096
"""How many characters of each value the list reads. A longer value isn't checked for corruption."""

PURGE_SECONDS: Final = 10
"""How long `delete_expired` runs. It leaves what remains to the next call."""


class ConcurrentChangeError(ContentionError):
    """Another writer changed the entry between the check of the form and the write."""


class EntryAdmin(EntryColumns, ModelAdmin):
    """The admin of the entries in one database, by default that of the default store.

    For another database, register a subclass with `using` for a proxy model of Entry.
    """

    using: str | None = None
    """An alias of DATABASES, or None for the first database that `databases()` returns."""

    form = EntryForm
    list_display = ("exact_key", "short_value", "time_left", "size")
    list_filter = (PartFilter, StateFilter)
    search_fields = ("key",)
    search_help_text = _("The beginning of a key, or * and a text anywhere in it")
    sortable_by = ()
    ordering = ("key",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("delete_expired",)
    change_list_template = "django_persist/admin/change_list.html"

    class Media:
        css = {"all": ("django_persist/admin.css",)}

    # The database.

    @property
    def database(self) -> str:
        """The alias of the database whose entries are shown."""
        if self.using is not None:
            return self.using
        return next(iter(databases()), None) or router.db_for_write(self.model)

    def get_urls(self) -> list[URLPattern]:
        urls = super().get_urls()
        if self.using is None:
            view = self.admin_site.admin_view(self.store_view)
            urls.insert(0, path("store/<path:alias>/", view, name="django_persist_store"))
        return urls

    @method_decorator(require_safe)
    def store_view(self, request: HttpRequest, alias: str) -> HttpResponse:
        """Show the entries of a store that keeps them elsewhere."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return store_view(self, self._used_database, request, alias)

    @property
    def _used_database(self) -> str | None:
        """The same as `database`, or None if no store keeps its entries there."""
        return self.database if self.using is not None or databases() else None

    def get_queryset(self, request: HttpRequest) -> Entries:
        entries = super().get_queryset(request).using(self.database)
        return entries.defer("value").annotate(size=ValueSize(), raw=RawValue(LISTED_CHARS))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: Any = None
    ) -> Entry | None:
        try:
            check_characters(object_id)
        except InvalidKeyError:
            return None
        entries = self.get_queryset(request).annotate(raw=RawValue(MAX_EDITABLE_CHARS))
        found: Entry | None = entries.filter(pk=object_id).first()
        if found is None and request.method == "POST" and "version" in request.POST:
            # The entry was deleted after the form was opened. The form reports that as a conflict.
            found = self.model(key=object_id)
            found._state.adding = False
        return found

    # The list.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EntryChangeList]:
        return EntryChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: Entries, search_term: str
    ) -> tuple[Entries, bool]:
        return search(queryset, search_term) if search_term else queryset, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self._used_database is None and self.has_view_permission(request):
            return redirect("admin:django_persist_store", other_stores(None)[0])
        if request.method == "POST":
            # The page offers no selection across pages. Asked for by a crafted request, it would
            # put all entries of the table on one page.
            _replace_in_post(request, "select_across", [])
            if self._is_delete_expired(request):
                # The admin runs an action only with a selection, but this one needs none.
                _replace_in_post(request, ACTION_CHECKBOX_NAME, [""])
        context = {
            "database": self.database if len(databases()) > 1 or self.using else None,
            "stores_database": self.database,
            "aliases": other_stores(self.database) if self.using is None else [],
            "looked": number_format(LOOKED, force_grouping=True),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _is_delete_expired(self, request: HttpRequest) -> bool:
        # A page can have two action menus. `index` says which of them was submitted.
        chosen, index = request.POST.getlist("action"), request.POST.get("index", "0")
        return index.isdecimal() and chosen[int(index) : int(index) + 1] == ["delete_expired"]

    @admin.action(permissions=["delete"], description=_("Delete all expired entries"))
    def delete_expired(self, request: HttpRequest, queryset: Entries) -> TemplateResponse | None:
        """Delete the expired entries of the whole table in batches, whatever is selected.

        Like the admin's own deletion, it asks first.
        """
        if not request.POST.get("post"):
            return self._ask_before_deleting(request)
        deadline, deleted = time.monotonic() + PURGE_SECONDS, 0
        is_done = True
        for number in DatabaseDriver(self.database).purge(CHUNK):
            deleted += number
            if number and time.monotonic() > deadline:
                is_done = False
                break
        message = ngettext(
            "%s expired entry was deleted.", "%s expired entries were deleted.", deleted
        ) % number_format(deleted, force_grouping=True)
        if not is_done:
            message += " " + str(_("There may be more: run the action again."))
        self.message_user(request, message, messages.SUCCESS if is_done else messages.WARNING)
        return None

    def _ask_before_deleting(self, request: HttpRequest) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Delete all expired entries"),
            "opts": self.opts,
            "media": self.media,
            "expired": DatabaseDriver(self.database).expired(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "django_persist/admin/delete_expired.html", context)

    # The form.

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        """Refuse to edit an entry that is too large for a form. It can be viewed and deleted."""
        allowed = super().has_change_permission(request, obj)
        stored = obj and StoredText.of(obj)
        # If it became too large after the form was opened, the form reports a conflict instead.
        return allowed and (not stored or request.method == "POST" or stored.can_be_edited)

    def get_fieldsets(self, request: HttpRequest, obj: Entry | None = None) -> Any:
        description: Any = None
        if obj is None:
            fields = ["key", "text", "expires_at"]
        elif self.has_change_permission(request, obj):
            fields = ["exact_key", "text", "size", "expires_at", "time_left", "version"]
        else:
            fields = ["exact_key", "whole_value", "size", "expires_at", "time_left"]
            # Without the permission, the size of the value doesn't matter.
            stored = StoredText.of(obj) if super().has_change_permission(request, obj) else None
            description = (
                stored.why_read_only if stored else _("You may view this entry, but not change it.")
            )
        return [(None, {"fields": fields, "description": description})]

    def get_readonly_fields(self, request: HttpRequest, obj: Entry | None = None) -> Any:
        # With "key", so that the form of an existing entry has no field for it.
        return ["key", "exact_key", "size", "time_left"] if obj is not None else []

    def get_form(
        self, request: HttpRequest, obj: Entry | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.database = self.database  # type: ignore[attr-defined]
        can_view = self.has_view_permission(request)
        form.url_of = staticmethod(  # type: ignore[attr-defined]
            lambda key: change_url(self, key) if can_view else ""
        )
        return form

    # Writing.

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        object_id = _object_id(object_id)
        view = super().changeform_view
        return _retry(lambda: view(request, object_id, form_url, extra_context))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        view, object_id = super().delete_view, str(_object_id(object_id))
        if request.method == "POST":
            # Only the form of a deleted entry can be shown: see `get_object`.
            _replace_in_post(request, "version", [])
        return _retry(lambda: view(request, object_id, extra_context))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().history_view(request, str(_object_id(object_id)), extra_context)

    def save_model(self, request: HttpRequest, obj: Entry, form: Any, change: bool) -> None:
        if change:
            is_written = self._write(lambda: self._replace(obj, form))
        else:
            driver = DatabaseDriver(self.database)
            is_written = driver.create(obj.key, form.encoded, form.expiry)
        if not is_written:
            raise ConcurrentChangeError("Another writer changed the entry at the same time.")

    def _replace(self, entry: Entry, form: EntryForm) -> bool:
        """Write if the row is still what the form was made from; return whether it was."""
        stored = StoredText.of(entry)
        if stored is None or has_expired(form.original_expires_at) != form.had_expired:
            return False
        changes: dict[str, Any] = {"expires_at": form.cleaned_data["expires_at"]}
        if form.encoded is not None:
            changes["value"] = form.cleaned_data["text"]
        rows = self.model._base_manager.using(self.database).alias(raw=RawValue())
        unchanged = rows.filter(
            pk=entry.pk, expires_at=form.original_expires_at, raw=Value(stored.raw)
        )
        return unchanged.update(**changes) > 0

    def delete_model(self, request: HttpRequest, obj: Entry) -> None:
        self._write(lambda: obj.delete(using=self.database))

    def _write(self, work: Callable[[], Any]) -> Any:
        """Do it as the driver would: with its exceptions, and with retries after a conflict."""
        return Connection(self.database).run(lambda cursor: work(), writes=True)


def _retry(view: Callable[[], Any]) -> Any:
    """Return the response of a view. Call it again if it loses against another writer.

    Its transaction was rolled back. In the next call the form sees what the other writer wrote.
    """
    last_error: ContentionError | None = None
    for _attempt in attempts(20, 5):
        try:
            return view()
        except ContentionError as error:
            last_error = error
    assert last_error is not None
    raise last_error


def _replace_in_post(request: HttpRequest, name: str, values: list[str]) -> None:
    """Give a posted field other values, or remove it."""
    post = request.POST.copy()
    post.pop(name, None)
    if values:
        post.setlist(name, values)
    request.POST = post  # type: ignore[assignment]


def _object_id(segment: str | None) -> str | None:
    """Return the quoted key for a URL segment that `url_for_result` made."""
    return next((key for key, name in KEY_SEGMENTS.items() if name == segment), segment)
