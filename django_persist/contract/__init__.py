"""The contract of drivers, as a test class for pytest: what a store relies on a driver for.

class TestMyDriver(DriverContract):
    @pytest.fixture
    def driver(self):
        return MyDriver()       # must be empty
"""

from pkgutil import iter_modules

import pytest

# pytest then shows the values that a failed assertion compared.
pytest.register_assert_rewrite(*(f"{__name__}.{page.name}" for page in iter_modules(__path__)))

from .atomic import AtomicContract
from .corrupt import CorruptContract
from .counters import CountersContract
from .entries import EntriesContract
from .expired import ExpiredContract
from .keys import KeysContract
from .lifetimes import LifetimesContract
from .limits import LimitsContract
from .listings import ListingsContract
from .many import ManyContract
from .threads import ThreadsContract
from .values import ValuesContract
from .versions import VersionsContract

__all__ = ["DriverContract"]


class DriverContract(
    EntriesContract,
    ExpiredContract,
    LifetimesContract,
    AtomicContract,
    VersionsContract,
    CountersContract,
    LimitsContract,
    ManyContract,
    ListingsContract,
    KeysContract,
    ValuesContract,
    CorruptContract,
    ThreadsContract,
):
    """Everything that a store needs of its driver, tested through the public API.

    Inherit from it and define the fixture `driver`, which returns an empty driver for each test.
    Some tests call it from eight threads at once. A test asks less of a driver whose `supports_`
    flags say that it can't do something; nothing else is left out.

    What a store does by itself, whatever its driver, is not tested here: refused keys and values,
    types, defaults.

    The tests let time pass by sleeping for some hundredths of a second. If you can move the clock
    that the driver goes by, override the fixture `elapse`, a function of seconds.
    """
