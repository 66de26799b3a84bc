"""The simulators' HTTP: the parties' own paths, and `/simulator/…` on loopback, where they are told what to be."""

import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from urllib3 import HTTPHeaderDict

from ehc.clock import SystemClock, local_day
from ehc.core.documents import Document, read_document
from ehc.core.names import normal_name
from ehc.dev.simulators import platforms
from ehc.dev.simulators.bank import BY_NUMBER, Bank
from ehc.dev.simulators.delivery import deliver
from ehc.dev.simulators.mini_programs import MiniProgram
from ehc.dev.simulators.party import Moody, Party, Special
from ehc.dev.simulators.phones import DEAD_END, Phones
from ehc.dev.simulators.pictures import Pictures
from ehc.dev.simulators.register import BY_NAME, STATUSES, Person, Register
from ehc.errors import InvalidValue
from ehc.outside.card_reader import MAX_IMAGE
from ehc.outside.signed_http import LIMIT, PartyKey

_WRONG = (InvalidValue, KeyError, TypeError, ValueError, AttributeError)


class SimulatorServer(ThreadingHTTPServer):
    """All parties on one address. `serve_forever` serves until `shutdown`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        *,
        identity_key: PartyKey,
        sms_key: PartyKey,
        bank_key: PartyKey,
        reader_key: PartyKey,
        mini_program: MiniProgram,
        unknown: str = "match",
    ) -> None:
        self.unknown = unknown
        self.register, self.phones, self.bank = Register(unknown=unknown), Phones(), Bank()
        self.pictures = Pictures()
        self.parties = {
            "identity": Party(
                {"/v1/identity-checks": self.register.finding, "/v1/death-notices": self.register.page},
                key=identity_key,
            ),
            "reader": Party({"/v1/card-readings": self.pictures.read}, limit=2 * MAX_IMAGE, key=reader_key),
            "sms": Party({"/v1/messages": self.phones.accept}, key=sms_key),
            "bank": Party(
                {
                    "/v1/bindings/start": self.bank.start,
                    "/v1/bindings/confirm": self.bank.confirm,
                    "/v1/bindings/end": self.bank.end,
                    "/v1/bindings/status": self.bank.status,
                    "/v1/notices": self.bank.notices,
                    "/v1/agreements": self.bank.agreements,
                },
                key=bank_key,
            ),
        }
        self.wechat, self.alipay = platforms.Wechat(mini_program), platforms.Alipay(mini_program)
        self.platforms = {
            "wechat": Moody({self.wechat.path: self.wechat.answer}, platforms.MODES),
            "alipay": Moody({self.alipay.path: self.alipay.answer}, platforms.MODES),
        }
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As the base, without asking the name service for our own name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """The base URL of every party."""
        return f"http://{self.server_name}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    timeout = 60
    server: SimulatorServer

    def do_GET(self) -> None:
        """A view of the simulators, or WeChat's log-in."""
        if urlsplit(self.path).path == platforms.Wechat.path:
            self._as_platform(self.server.platforms["wechat"], self.server.wechat)
            return
        views: dict[str, Callable[[], Any]] = {
            "/simulator/": self._state,
            "/simulator/deaths": lambda: {"deaths": self.server.register.deaths()},
            "/simulator/messages": lambda: {"messages": self.server.phones.messages()},
            "/simulator/bank/codes": lambda: {"codes": self.server.bank.codes()},
            "/simulator/bank/bindings": lambda: {"bindings": self.server.bank.bindings()},
            "/simulator/bank/notices": lambda: {"notices": self.server.bank.told()},
        }
        self._control(views, lambda view: view())

    def do_POST(self) -> None:
        """A question to one of the parties, or an order to the simulators."""
        path = self.path
        if urlsplit(path).path == platforms.Alipay.path:
            self._as_platform(self.server.platforms["alipay"], self.server.alipay)
            return
        for party in self.server.parties.values():
            if path in party.acts:
                with party.counted():
                    self._as_party(party, party.acts[path])
                return
        body = self._body()
        orders: dict[str, Callable[[dict[str, Any]], Any]] = {
            "/simulator/people": self._add_person,
            "/simulator/deaths": self._mark_dead,
            "/simulator/mode": self._set_mode,
            "/simulator/clear": self._clear,
            "/simulator/card-pictures": self.server.pictures.add,
            "/simulator/wechat/codes": self.server.wechat.code,
            "/simulator/alipay/codes": self.server.alipay.code,
            "/simulator/bank/accounts": self.server.bank.add_account,
            "/simulator/bank/notices": self._notify,
            "/simulator/bank/bindings": self.server.bank.set_binding,
        }
        self._control(orders, lambda order: order(_object(body)))

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: what could be said would be about people."""

    def _as_party(self, party: Party, act: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        (mode, seconds), headers = party.mode_for(self.path), HTTPHeaderDict(self.headers.items())
        if mode == "down":
            self.close_connection = True
            return
        body = self._body(party.limit)
        if not party.admits(self.path, headers, body):
            self._send(401, {"error": "not signed as docs/outside-parties.md says, not fresh, or seen before"})
            return
        if mode == "slow":
            time.sleep(seconds)
        if mode == "http-500":
            self._send(500, {"error": "told to fail"})
            return
        try:
            answer = json.dumps(act(_object(body))).encode()
        except _WRONG:
            self._send(400, {"error": "not a question of docs/outside-parties.md or docs/bank-gateway.md"})
            return
        if mode == "lost-answer":
            self.close_connection = True
            return
        if mode == "garbage":
            answer = b"\x00garbage"
        self._send(200, answer, party.signed(self.path, headers["X-Ehc-Nonce"], answer, mode))

    def _as_platform(self, platform: Moody, speaker: platforms.Wechat | platforms.Alipay) -> None:
        with platform.counted():
            mode, seconds = platform.mode_for(speaker.path)
            if mode == "down":
                self.close_connection = True
                return
            asked = urlsplit(self.path).query.encode() if self.command == "GET" else self._body()
            if mode == "slow":
                time.sleep(seconds)
            if mode == "http-500":
                self._send(500, {"error": "told to fail"})
                return
            answer = speaker.answer(dict(parse_qsl(asked.decode("latin-1"), encoding="utf-8")), mode)
            if mode == "lost-answer":
                self.close_connection = True
                return
            self._send(200, answer, {"Content-Type": "text/plain;charset=utf-8"})

    def _control(self, known: Mapping[str, Any], act: Callable[[Any], Any]) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if not ipaddress.ip_address(self.client_address[0]).is_loopback or host not in ("127.0.0.1", "localhost"):
            self._send(403, {"error": "the simulators take orders from their own machine only"})
        elif self.path not in known:
            self._send(404, {"error": "see docs/outside-parties.md"})
        else:
            try:
                told = act(known[self.path])
            except _WRONG:
                self._send(
                    400,
                    {"error": "not an order of docs/outside-parties.md, section 7, or docs/bank-gateway.md, section 7"},
                )
            else:
                self._send(200, told if told is not None else {"done": True})

    def _state(self) -> dict[str, Any]:
        counts = {
            name: {"mode": one.mode, "asked": one.asked, "waiting": one.waiting, "most_waiting": one.most_waiting}
            for name, one in self._moody().items()
        }
        rules = {"unknown": self.server.unknown, "name_endings": BY_NAME, "phones_refused": f"…{DEAD_END}"}
        rules |= {"accounts_refused": {f"…{ending}.": why for ending, why in BY_NUMBER.items()}}
        none = "no identity authority, no SMS gateway, no bank, no reader of cards, no WeChat, no Alipay"
        return {"SIMULATOR": none, "parties": counts, "rules": rules}

    def _moody(self) -> dict[str, Moody]:
        return {**self.server.parties, **self.server.platforms}

    def _add_person(self, told: dict[str, Any]) -> None:
        status, born = told.get("status", "normal"), told.get("birth_date")
        if status not in STATUSES:
            raise ValueError
        birth_date = date.fromisoformat(born).isoformat() if born is not None else None
        self.server.register.add(Person(normal_name(told["name"]), _document(told), birth_date, status))

    def _mark_dead(self, told: dict[str, Any]) -> None:
        self.server.register.mark_dead(_document(told), date.fromisoformat(told["death_date"]))

    def _set_mode(self, told: dict[str, Any]) -> None:
        named, mode, seconds = told.get("party"), told["mode"], float(told.get("seconds", 0))
        if not 0 <= seconds <= 60:
            raise ValueError
        path, times = told.get("path"), int(told.get("times", 0))
        parties = [self._moody()[named]] if named else [one for one in self._moody().values() if mode in one.modes]
        if path is not None:
            parties = [party for party in parties if path in party.acts]
        if (
            not parties
            or any(mode not in party.modes for party in parties)
            or not 0 <= times <= 1000
            or (times and path is None)
        ):
            raise ValueError
        for party in parties:
            party.tell(Special(mode, seconds, times), path)

    def _notify(self, told: dict[str, Any]) -> dict[str, Any]:
        """A notice is kept for the file of its day, and told at once to the service at `deliver_to`, if that is given."""
        notice = self.server.bank.notice(told)
        if (url := told.get("deliver_to")) is not None:
            notice = {**notice, "answered": deliver(self.server.parties["bank"].key, url, notice)}
        return notice

    def _clear(self, _: dict[str, Any]) -> None:
        self.server.register.clear()
        self.server.phones.clear()
        self.server.bank.clear()
        self.server.pictures.clear()
        self.server.wechat.codes.clear()
        self.server.alipay.codes.clear()
        for party in self._moody().values():
            party.reset()

    def _body(self, most: int = LIMIT) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > most:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def _send(self, status: int, answer: dict[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _object(body: bytes) -> dict[str, Any]:
    found = json.loads(body or b"{}")
    if not isinstance(found, dict):
        raise TypeError
    return found


def _document(told: dict[str, Any]) -> Document:
    return read_document(told["id_type"], told["id_number"], today=local_day(SystemClock().now()))
