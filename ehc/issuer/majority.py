"""Coming of age (成年): at 18 a child takes the card over, and the guardian's access has ended.

The links, grants and cards carry the day themselves, so access ends on it to the second; the job that ends the links tidies
up after it. The day is the birthday's start in China; who was born on 29 February has it on 1 March (as `age_on`).
"""

from datetime import date, datetime, time
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.cards.events import Words
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.clock import CHINA_TIME
from ehc.issuer import family_links
from ehc.keystore.secret_keys import Secrets
from ehc.residents.models import FamilyLinkRow

AGE = 18
"""成年人, Civil Code (民法典) art. 17."""
_AT_ONCE = 20
_SYSTEM = Acting("system", Party.SYSTEM)
_WORDS = Words("成年 · came of age")


def comes_of_age(born: date) -> datetime:
    """The instant at which a person is 18."""
    year = born.year + AGE
    leap_day_missing = (born.month, born.day) == (2, 29) and not _is_leap(year)
    birthday = date(year, 3, 1) if leap_day_missing else born.replace(year=year)
    return datetime.combine(birthday, time(), CHINA_TIME)


def is_of_age(born: date | None, now: datetime) -> bool:
    """Whether a person is 18; False if nobody knows the birth date."""
    return born is not None and comes_of_age(born) <= now


def is_minor(born: date | None, now: datetime) -> bool:
    """Whether a person is known to be under 18. Whose age nobody knows is treated as an adult is."""
    return born is not None and not is_of_age(born, now)


def reckon(session: Session, member_id: UUID, born: date, *, now: datetime) -> None:
    """A person's birth date became known, or was put right: guardianships over them end on another day."""
    day = comes_of_age(born)
    for link in family_links.guardians_of(session, member_id, at=now):
        if link.until is not None or day > now:  # an adult's link without an end was agreed to by the adult
            family_links.set_until(session, link, day)
    family_links.show_guardian(session, member_id, at=now)


def end_guardianships(session: Session, *, secrets: Secrets, now: datetime) -> int:
    """End links whose member is 18, up to 20, and note it on both cards; returns how many. Until it returns 0."""
    over = family_links.overdue(session, at=now, most=_AT_ONCE)
    family_links.hold(session, {end for link in over for end in (link.guardian_id, link.member_id)})
    for link in over:
        end_one(session, link, secrets=secrets, now=now)
    return len(over)


def end_one(session: Session, link: FamilyLinkRow, *, secrets: Secrets, now: datetime) -> None:
    """End a link whose member is 18."""
    family_links.end(session, link, why="majority", acting=_SYSTEM, sealer=secrets.sealer, at=now, words=_WORDS)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
