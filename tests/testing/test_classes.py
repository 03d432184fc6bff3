"""`override_persist` on test classes. Their tests run in any order, as in a project.

If it did nothing, these tests would fail: they may not use the test database.
"""

from __future__ import annotations

import unittest
from typing import Any

from django.test import SimpleTestCase, TestCase

from django_persist import persist
from django_persist.testing import override_persist


@override_persist()
class DecoratedClass(SimpleTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        persist.set("of the class", [1])
        persist.incr("counted")

    def setUp(self) -> None:
        persist.incr("set up")

    def tearDown(self) -> None:
        assert persist.get("set up") == 1
        persist.get_or_create("torn down", 1)
        self.addCleanup(self.clean_up)

    def clean_up(self) -> None:
        assert persist.incr("torn down") == 2

    def assert_alone(self) -> None:
        assert dict(items()) == {"of the class": [1], "counted": 1, "set up": 1}
        persist.incr("counted")
        persist.update("of the class", lambda numbers: [*numbers, 2])
        persist.set("of a test", 1)

    def test_one(self) -> None:
        self.assert_alone()

    def test_two(self) -> None:
        self.assert_alone()

    async def test_async(self) -> None:
        self.assert_alone()

    @override_persist()
    def test_within(self) -> None:
        assert dict(items()) == {}
        # tearDown runs outside, and must not see these.
        persist.set("set up", 1)
        persist.set("torn down", 5)


def items() -> list[tuple[str, Any]]:
    return [(key, item.value) for key, item in persist.items()]


class Subclass(DecoratedClass):
    """Overrides setUp without calling super()."""

    def setUp(self) -> None:
        persist.incr("set up")


@override_persist("default")
class SubclassDecoratedAgain(DecoratedClass):
    @classmethod
    def setUpClass(cls) -> None:
        persist.set("not of the class", 1)
        super().setUpClass()


class AsyncSubclass(DecoratedClass, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        assert persist.get("set up") == 1


@override_persist()
class ClassWithTestData(TestCase):
    databases = {"default", "postgresql"}

    @classmethod
    def setUpTestData(cls) -> None:
        persist.set("data", [1])

    def assert_alone(self) -> None:
        assert dict(items()) == {"data": [1]}
        persist.update("data", lambda numbers: [*numbers, 2])
        assert dict(items()) == {"data": [1, 2]}

    def test_one(self) -> None:
        self.assert_alone()

    def test_two(self) -> None:
        self.assert_alone()
