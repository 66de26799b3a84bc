"""What can go wrong, said once: each kind has a stable code and a sentence in both languages.

Kinds are raised deep in the rooms and become HTTP in one place, `ehc/web/problems.py`. The sentences are written for the
caller: they say what to do, and never hold the refused value, since it may be a name or a document number.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Text(NamedTuple):
    """One sentence for people, in Chinese and in English."""

    zh: str
    en: str


@dataclass(frozen=True)
class FieldError:
    """One member of a request that cannot be taken: where (a JSON pointer), which rule, and what to do."""

    pointer: str
    code: str
    message: Text


class EhcError(Exception):
    """The base of every kind the service raises on purpose. `code` is stable; `detail` is for the caller."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: Text, *, fields: tuple[FieldError, ...] = (), retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.detail = detail
        self.fields = fields
        self.retry_after = retry_after


class InvalidValue(EhcError):
    """A member of the request breaks a rule; `fields` says which one."""

    code = "invalid-request"

    @classmethod
    def at(cls, pointer: str, code: str, message: Text) -> "InvalidValue":
        """One wrong member, named by its JSON pointer, for example `/id_number`."""
        detail = Text("请求内容有误，请按 errors 中的说明修改后重试。", "The request is not valid; see errors.")
        return cls(detail, fields=(FieldError(pointer, code, message),))


class Unavailable(EhcError):
    """Something the answer depends on cannot be reached now; nothing was done. Try again after `retry_after` seconds."""

    code = "unavailable"


DATABASE_AWAY = Text(
    "数据库暂不可用，本次未受理，请稍后重试。", "The database is away and nothing was accepted. Try again shortly."
)


class WrongFields:
    """Collects the `InvalidValue`s of several readings, so that one answer names every wrong member.

    `with wrong: value = read(...)` for each, then `wrong.require_none()`.
    """

    def __init__(self) -> None:
        self._found: list[InvalidValue] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, InvalidValue):
            self._found.append(error)
            return True
        return False

    def require_none(self) -> None:
        """Raises one `InvalidValue` with the fields of all that were found."""
        if self._found:
            raise InvalidValue(
                self._found[0].detail, fields=tuple(field for error in self._found for field in error.fields)
            )
