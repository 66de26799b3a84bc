"""The keys of one worker, at hand and kept fresh."""

from ehc import audit
from ehc.crypto.keys import KeyRing
from ehc.crypto.sealed import Sealer
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.db import UnitOfWork
from ehc.keystore import ring, secret_keys, signing_keys
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.ring import Purpose
from ehc.keystore.secret_keys import Secrets
from ehc.keystore.signing_keys import DatedSigner
from ehc.web.auth import in_sandbox


class Keys:
    """The keys of one worker, each reloaded every ten seconds.

    `wary`: the first loading also looks whether the database role could change the audit log, and warns. Loading is the
    first that any worker does on the database.
    """

    def __init__(self, work: UnitOfWork, kek: KeyEncryptingKey, *, wary: bool = True) -> None:
        self._work, self._kek, self._wary = work, kek, wary
        self.secrets = Refreshed(self._secrets, every=300)
        self.code_ring = Refreshed(lambda: self._ring(Purpose.CODE, Purpose.PRINT))
        self.token_ring = Refreshed(lambda: self._ring(Purpose.TOKEN))
        self.list_ring = Refreshed(lambda: self._ring(Purpose.LIST))
        self.code_signers = Refreshed(lambda: self._signers(Purpose.CODE))
        self.print_signers = Refreshed(lambda: self._signers(Purpose.PRINT))
        self.token_signers = Refreshed(lambda: self._signers(Purpose.TOKEN))
        self.list_signers = Refreshed(lambda: self._signers(Purpose.LIST))

    def sealer(self) -> Sealer:
        """What seals and opens fields."""
        return self.secrets.get().sealer

    def of_caller(self) -> Secrets:
        """The symmetric keys as they are for whoever calls now: a client of the sandbox finds nobody real with them."""
        found = self.secrets.get()
        return found.of_sandbox() if in_sandbox() else found

    def _secrets(self) -> Secrets:
        with self._work() as session:
            if self._wary:
                audit.warn_if_too_strong(session)
            loaded = secret_keys.load(session, self._kek)
        self._wary = False
        return loaded

    def _ring(self, *purposes: Purpose) -> KeyRing:
        with self._work() as session:
            return ring.load_ring(session, *purposes)

    def _signers(self, purpose: Purpose) -> tuple[DatedSigner, ...]:
        with self._work() as session:
            return signing_keys.load_signers(session, self._kek, purpose)
