"""The simulators as a process that lives and dies with the one that started it."""

import os
import sys
from pathlib import Path
from signal import Signals
from typing import ClassVar

from ehc.dev.process import DevServerError, ourselves
from ehc.dev.server import EmbeddedServer
from ehc.dev.simulators.controls import Controls, OrderError
from ehc.dev.simulators.mini_programs import MiniProgram
from ehc.dev.simulators.platforms import Alipay

ADDRESS = "address"
"""The file, in the simulators' folder, in which a running process says where it is."""


def identity_key_file(folder: Path) -> Path:
    """Where the key shared with the simulated identity authority is."""
    return folder / "identity.key"


def sms_key_file(folder: Path) -> Path:
    """Where the key shared with the simulated SMS gateway is."""
    return folder / "sms.key"


def bank_key_file(folder: Path) -> Path:
    """Where the key shared with the simulated bank is."""
    return folder / "bank.key"


def reader_key_file(folder: Path) -> Path:
    """Where the key shared with the simulated reader of identity cards is."""
    return folder / "reader.key"


class Simulators(EmbeddedServer):
    """The simulators. `data_dir` holds their keys and outlives them; what they were told does not.

    `bind` is an IPv4 address and a port, 0 for any free one. A later start of the same object keeps the port it had.
    """

    title: ClassVar[str] = "the simulator of the outside parties"
    programs: ClassVar[tuple[str, ...]] = (Path(sys.executable).name,)
    farewell: ClassVar[Signals] = Signals.SIGTERM
    steps: ClassVar[tuple[tuple[Signals, float], ...]] = ((Signals.SIGTERM, 5), (Signals.SIGKILL, 5))

    def __init__(self, data_dir: Path, *, bind: str = "127.0.0.1:0", unknown: str = "match") -> None:
        super().__init__(data_dir)
        self._bind, self._unknown, self._url = bind, unknown, ""

    def start(self) -> str:
        """Start and wait until they answer; the base URL of all. Raises `DevServerError`."""
        self._take()
        try:
            self._leftovers(ourselves()).stop(self.farewell, seconds=5)
            self.data_dir.mkdir(mode=0o700, exist_ok=True)
            self._address_file().unlink(missing_ok=True)
            self._launch([sys.executable, *self._options()], ourselves(), self._answers, seconds=20)
        except BaseException:
            self.kill()
            raise
        self._bind = self.url.removeprefix("http://")
        return self.url

    @property
    def url(self) -> str:
        """The base URL of every party. Raises `DevServerError` before the first start."""
        if not self._url:
            raise DevServerError(f"{self.title} is not started")
        return self._url

    @property
    def controls(self) -> Controls:
        """What tells the running simulators whom to know and how to fail."""
        return Controls(self.url)

    @property
    def mini_program(self) -> MiniProgram:
        """The one that the running platforms know."""
        return MiniProgram.kept(self.data_dir)

    def environment(self) -> dict[str, str]:
        """The service's settings that make it ask the running simulators."""
        return {
            "EHC_AUTHORITY_URL": self.url,
            "EHC_AUTHORITY_KEY_FILE": str(identity_key_file(self.data_dir)),
            "EHC_SMS_URL": self.url,
            "EHC_SMS_KEY_FILE": str(sms_key_file(self.data_dir)),
            "EHC_CARD_READER_URL": self.url,
            "EHC_CARD_READER_KEY_FILE": str(reader_key_file(self.data_dir)),
            "EHC_BANK_URL": self.url,
            "EHC_BANK_KEY_FILE": str(bank_key_file(self.data_dir)),
            "EHC_WECHAT_URL": self.url,
            "EHC_ALIPAY_URL": f"{self.url}{Alipay.path}",
        }

    def _environment(self) -> dict[str, str]:
        """Our own: Python finds its libraries in a folder with a Chinese name only in the locale that we run in."""
        return dict(os.environ)

    def _address_file(self) -> Path:
        return self.data_dir / ADDRESS

    def _options(self) -> list[str]:
        return [
            *("-m", "ehc.dev.simulators", "--bind", self._bind),
            *("--unknown", self._unknown, "--folder", str(self.data_dir)),
        ]

    def _answers(self) -> bool:
        try:
            self._url = self._address_file().read_text(encoding="ascii")
            return "SIMULATOR" in self.controls.state()
        except (FileNotFoundError, OrderError):  # not listening yet
            return False
