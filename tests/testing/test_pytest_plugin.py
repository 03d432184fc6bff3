"""The fixture `persist` in a separate project."""

from __future__ import annotations

from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

SETTINGS = """
    SECRET_KEY = "of a project"
    INSTALLED_APPS = ["django_persist"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.database.DatabaseDriver",
            "PREFIX": "p:",
            "MAX_VALUE_BYTES": 20,
        },
        "hot": {"BACKEND": "no.such.Driver"},
    }
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the plugin. Its tests have no access to the database."""
    pytester.makeini(
        "[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\nfilterwarnings = error\n"
    )
    pytester.makepyfile(project_settings=dedent(SETTINGS))
    pytester.makeconftest('pytest_plugins = ["django_persist.pytest_plugin"]')
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    # Our other plugins take longer to load than the tests of the project take.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def run(project: pytest.Pytester, *arguments: str, **outcomes: int) -> None:
    result = project.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "pytest_django.plugin", *arguments
    )
    result.assert_outcomes(**outcomes)


def test_each_test_has_empty_stores_in_memory(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        import unittest
        import django_persist
        from django.conf import settings as django_settings
        from django_persist import stores
        from django_persist.exceptions import ValueTooLargeError


        @pytest.mark.parametrize("time", [1, 2])
        def test_alone(persist, time):
            assert [stores[alias].count() for alias in stores] == [0, 0]
            assert persist.incr("calls") == stores["hot"].incr("calls") == 1
            assert django_persist.persist.get("calls") == 1


        def test_settings_hold(persist):
            assert persist.place().prefix == "p:"
            with pytest.raises(ValueTooLargeError):
                persist.set("a", "x" * 20)


        class TestClass:
            @pytest.fixture(autouse=True)
            def setup(self, persist):
                persist.set("of the setup", 1)

            def test_has_what_the_setup_stored(self, persist):
                assert list(persist.keys()) == ["of the setup"]


        @pytest.mark.usefixtures("persist")
        class Case(unittest.TestCase):
            def test_case(self):
                assert django_persist.persist.incr("calls") == 1


        def test_without_it_the_stores_are_those_of_the_project():
            with pytest.raises(Exception, match="'no'"):
                django_persist.persist.get("calls")


        # The stores are restored, whatever else a test changes.


        def test_settings_that_come_first(settings, persist):
            settings.USE_TZ = False
            settings.PERSIST = {"default": {**settings.PERSIST["default"], "PREFIX": "other:"}}
            assert persist.place().prefix == "p:"


        def test_settings_that_come_after(persist, settings):
            settings.USE_TZ = False
            persist.incr("calls")


        def test_then_all_is_as_it_was():
            driver = django_settings.PERSIST["default"]["BACKEND"]
            assert driver == "django_persist.drivers.database.DatabaseDriver"
            assert django_settings.USE_TZ
            assert list(django_settings.PERSIST) == ["default", "hot"]
        """
    )
    run(project, passed=9)


def test_autouse_fixture_with_the_plugin_named_on_the_command_line(
    project: pytest.Pytester,
) -> None:
    project.makeconftest(
        """
        import pytest


        @pytest.fixture(autouse=True)
        def _stores_in_memory(persist):
            pass
        """
    )
    project.makepyfile(
        """
        from django_persist import persist


        def test_one():
            assert persist.incr("calls") == 1


        def test_two():
            assert persist.incr("calls") == 1
        """
    )
    run(project, "-p", "django_persist.pytest_plugin", passed=2)


def test_requests_of_the_factory_have_persist(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        import django_persist


        @pytest.mark.parametrize("time", [1, 2])
        def test_visit(persist_rf, time):
            for method in ("get", "post"):
                request = getattr(persist_rf, method)("/path")
                request.persist.incr("visits")
                assert request.persist is django_persist.stores["default"]
                assert (request.path, request.method.lower()) == ("/path", method)
            assert django_persist.persist.get("visits") == 2


        def test_factory_of_django(rf):
            assert not hasattr(rf.get("/"), "persist")
        """
    )
    run(project, passed=3)
