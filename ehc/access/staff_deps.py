"""What the routes of log-in and of the accounts of the staff work with."""

from dataclasses import dataclass

from ehc.access.log_ins import Desk
from ehc.access.staff_acts import By
from ehc.access.staff_session_api import AdminDeps
from ehc.audit.sources import source_index, source_name
from ehc.web.addresses import Networks, caller_address
from ehc.web.auth import staff


@dataclass(frozen=True)
class StaffDeps:
    """The administration's, the desk for log-ins, and the proxies whose word on addresses is taken."""

    admin: AdminDeps
    desk: Desk
    proxies: Networks = ()

    def source(self) -> bytes:
        """Where this request comes from, as a keyed hash."""
        found = caller_address(self.proxies)
        return source_index(self.desk.secrets().blind_index, str(found) if found is not None else "")

    def by(self) -> By:
        """Who calls, and from where."""
        return By.staff(staff(), source_name(self.source()))
