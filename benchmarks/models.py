"""The model that a project without a store would write for such values."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Plain(models.Model):
    key = models.CharField(max_length=255, unique=True)
    value = models.JSONField()
    expires_at = models.DateTimeField(null=True, db_index=True)

    objects: ClassVar[models.Manager[Plain]] = models.Manager()

    def __str__(self) -> str:
        return self.key
