"""What tests of outside parties share: a simulator process, and a service that asks it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from ehc.place import Place
from ehc.settings import Settings
from tests.support.service import Service


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A simulator process for the tests of a module."""
    made = Simulators(tmp_path_factory.mktemp("simulators"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def outside(simulators: Simulators) -> Controls:
    """The simulators, as if just started."""
    simulators.controls.clear()
    return simulators.controls


@pytest.fixture
def asking(settings: Settings, simulators: Simulators, outside: Controls) -> Iterator[Service]:
    """A service that asks the simulators."""
    told: Any = simulators.environment()
    made = Service.start(
        replace(
            settings,
            authority_url=told["EHC_AUTHORITY_URL"],
            authority_key_file=Path(told["EHC_AUTHORITY_KEY_FILE"]),
            sms_url=told["EHC_SMS_URL"],
            sms_key_file=Path(told["EHC_SMS_KEY_FILE"]),
            card_reader_url=told["EHC_CARD_READER_URL"],
            card_reader_key_file=Path(told["EHC_CARD_READER_KEY_FILE"]),
            wechat_url=told["EHC_WECHAT_URL"],
            alipay_url=told["EHC_ALIPAY_URL"],
            bank_url=told["EHC_BANK_URL"],
            bank_key_file=Path(told["EHC_BANK_KEY_FILE"]),
        )
    )
    yield made
    made.stop()


@pytest.fixture
def place(asking: Service) -> Iterator[Place]:
    """Where that service's background tasks run."""
    made = Place(asking.settings, clock=asking.clock)
    yield made
    made.close()
