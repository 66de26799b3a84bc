"""`python -m ehc.dev.simulators --bind 127.0.0.1:8010`: the SIMULATORS of the outside parties, until Ctrl-C or SIGTERM."""

import argparse
import signal
import sys
from pathlib import Path
from threading import Thread

from ehc.dev.simulators.launcher import ADDRESS, bank_key_file, identity_key_file, reader_key_file, sms_key_file
from ehc.dev.simulators.mini_programs import MiniProgram
from ehc.dev.simulators.register import UNKNOWN
from ehc.dev.simulators.server import SimulatorServer
from ehc.outside.signed_http import PartyKey, SetupError

_BANNER = """SIMULATOR 模拟器 · identity authority, SMS gateway, bank, reader of cards, WeChat and Alipay log-in · {url}
Proves nobody's identity, reaches nobody's phone, moves nobody's money, sees no picture, logs nobody in.
People it was not told about: {unknown}.
不核验真实身份，不发送真实短信；未登记的人一律答复：{unknown}。 {url}/simulator/
EHC_AUTHORITY_URL={url} EHC_AUTHORITY_KEY_FILE={identity} EHC_SMS_URL={url} EHC_SMS_KEY_FILE={sms}
EHC_BANK_URL={url} EHC_BANK_KEY_FILE={bank}
EHC_CARD_READER_URL={url} EHC_CARD_READER_KEY_FILE={reader}
EHC_WECHAT_URL={url} EHC_ALIPAY_URL={url}/gateway.do"""


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m ehc.dev.simulators", description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:0", help="IPv4 address and port; port 0 is any free one")
    parser.add_argument(
        "--unknown", choices=UNKNOWN, default="match", help="the answer for people it was not told about"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("var/simulators"), help="where the keys are, made if absent"
    )
    given = parser.parse_args()
    host, _, port = given.bind.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        parser.error("--bind is host:port, for example 127.0.0.1:8010")
    folder: Path = given.folder.resolve()
    try:
        server = SimulatorServer(
            (host, int(port)),
            identity_key=_key(identity_key_file(folder), "simulated-authority"),
            sms_key=_key(sms_key_file(folder), "simulated-sms-gateway"),
            bank_key=_key(bank_key_file(folder), "simulated-bank"),
            reader_key=_key(reader_key_file(folder), "simulated-card-reader"),
            mini_program=MiniProgram.kept(folder),
            unknown=given.unknown,
        )
    except (SetupError, OSError) as error:
        print(f"SIMULATOR: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        # in a thread: shutdown waits for serve_forever, which the handler has interrupted
        signal.signal(number, lambda *_: Thread(target=server.shutdown).start())
    print(
        _BANNER.format(
            url=server.url,
            unknown=given.unknown,
            identity=identity_key_file(folder),
            sms=sms_key_file(folder),
            bank=bank_key_file(folder),
            reader=reader_key_file(folder),
        ),
        flush=True,
    )
    written = folder / f"{ADDRESS}.new"
    written.write_text(server.url, encoding="ascii")
    written.replace(folder / ADDRESS)
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


def _key(path: Path, key_id: str) -> PartyKey:
    if not path.exists():
        PartyKey.make_file(path, key_id)
    return PartyKey.from_file(path)


if __name__ == "__main__":
    sys.exit(main())
