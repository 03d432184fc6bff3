"""Entries of the database driver in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from ..models import Entry
from .options import EntryAdmin

__all__ = ["EntryAdmin"]

admin.site.register(Entry, EntryAdmin)
