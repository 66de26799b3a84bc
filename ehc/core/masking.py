"""What is shown of a person by default: enough to recognise oneself, too little to be looked up (national rules 6)."""

from datetime import date

_MAX_STARS = 3


def mask_name(name: str) -> str:
    """The first character, then a star for each of the rest, three at most: 张*, 欧***, Z***. A lone character is `*`.

    Takes a name in normal form. More stars would only tell how long the name is.
    """
    if len(name) <= 1:
        return "*"
    return name[0] + "*" * min(len(name) - 1, _MAX_STARS)


def mask_number(number: str) -> str:
    """First 4 and last 2 characters with stars between, same length (national rules 6). At least half stays hidden.

    So numbers under 12 show their first and last 2, under 8 their first, and under 4 nothing.
    """
    head, tail = _shown(len(number))
    return number[:head] + "*" * (len(number) - head - tail) + number[len(number) - tail :]


def _shown(length: int) -> tuple[int, int]:
    for least, head, tail in ((12, 4, 2), (8, 2, 2), (4, 1, 0)):
        if length >= least:
            return head, tail
    return 0, 0


def mask_phone(phone: str) -> str:
    """First 3 and last 4 characters with stars between, as 138****1234. Takes a number in normal form.

    Under 11 characters only the last 2 are shown, under 6 nothing.
    """
    head, tail = (3, 4) if len(phone) >= 11 else (0, 2 if len(phone) >= 6 else 0)
    return phone[:head] + "*" * (len(phone) - head - tail) + phone[len(phone) - tail :]


def mask_address(address: str) -> str:
    """The first 6 characters, which name the city or county, then stars up to 12, however long the rest is.

    Of an address under 12 characters the first 2, and stars up to 8.
    """
    return address[:6].ljust(12, "*") if len(address) >= 12 else address[:2].ljust(8, "*")


def mask_birth_date(birth: str) -> str:
    """The year of a date written `YYYY-MM-DD`."""
    return birth[:4] + "-**-**"


def age_on(birth: date, today: date) -> int:
    """Whole years of age (周岁). Who is born on 29 February turns a year older on 1 March of a common year.

    Raises `ValueError` for a birth after `today`.
    """
    if birth > today:
        raise ValueError("born after the day asked about")
    return today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))
