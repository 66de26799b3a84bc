"""The fields that a rule may tell of a holder, and in which forms. Pure.

A field that is told has a word: its name, and `:masked` where only its masked form is told. So each check records them.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

MASKED, CLEAR = "masked", "clear"

FORMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "name": (MASKED, CLEAR),
        "sex": (CLEAR,),
        "age": (CLEAR,),
        "birth_date": (MASKED, CLEAR),
        "id_number": (MASKED, CLEAR),
        "phone": (MASKED, CLEAR),
        "address": (MASKED, CLEAR),
        "nation": (CLEAR,),
        "guardian": (MASKED,),
        "patient-id": (CLEAR,),
    }
)
"""Each field with its forms, in the order in which a check records them. Who acts for a holder is told masked alone."""

NEVER_WITHOUT = "name:masked"
"""Every rule tells the name at least so: without it nobody at a counter knows whom the check is of."""

DEFAULT = frozenset({"name:masked", "sex", "age", "guardian:masked", "patient-id"})
"""What is told where no rule says otherwise; and the most that any rule can have told of whoever proved little."""


def word(name: str, form: str) -> str:
    """A field in a form, as it is recorded. Raises `ValueError` for what there is not."""
    if form not in FORMS.get(name, ()):
        raise ValueError("no such field, or not in this form")
    return name if form == CLEAR else f"{name}:{form}"


def form_of(told: str) -> tuple[str, str]:
    """The name and the form of a word."""
    name, _, form = told.partition(":")
    return name, form or CLEAR


def ordered(told: Iterable[str]) -> list[str]:
    """Words in the order in which a check records them."""
    names = list(FORMS)
    return sorted(told, key=lambda field: names.index(form_of(field)[0]))


def capped(told: Iterable[str]) -> frozenset[str]:
    """What of this may be told of whoever proved little: nothing beyond the default, nothing in clear that it masks."""
    names = {form_of(field)[0] for field in told}
    return frozenset(field for field in DEFAULT if form_of(field)[0] in names)
