"""Which rights each role carries, and which roles may meet in one person. Pure."""

from collections.abc import Iterable

from ehc.callers import Branch, Right, Role
from ehc.errors import EhcError, Text

APART = frozenset({Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN, Role.AUDIT_ADMIN})
"""三员: one person holds one of these at most, and then no other role (GB/T 22239-2019, level 3)."""

_READING = frozenset(
    {
        Right.INSTITUTIONS_READ,
        Right.APPS_READ,
        Right.TERMINALS_READ,
        Right.STAFF_READ,
        Right.DISCLOSURE_READ,
        Right.WEBHOOKS_READ,
        Right.GATEWAYS_READ,
        Right.USAGE_READ,
    }
)

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.SYSTEM_ADMIN: _READING
    | {
        Right.INSTITUTIONS_WRITE,
        Right.APPS_WRITE,
        Right.TERMINALS_WRITE,
        Right.STAFF_WRITE,
        Right.WEBHOOKS_WRITE,
        Right.GATEWAYS_WRITE,
    },
    Role.SECURITY_ADMIN: _READING
    | {
        Right.APPS_APPROVE,
        Right.ROLES_GRANT,
        Right.DISCLOSURE_WRITE,
        Right.KEYS_REVOKE,
        Right.CARDS_CANCEL_MANY,
    },
    Role.AUDIT_ADMIN: frozenset({Right.AUDIT_READ, Right.STAFF_READ}),
    Role.REGION_OPERATOR: frozenset(
        {
            Right.INSTITUTIONS_READ,
            Right.INSTITUTIONS_WRITE,
            Right.TERMINALS_READ,
            Right.TERMINALS_WRITE,
            Right.DISCLOSURE_READ,
            Right.GATEWAYS_READ,
            Right.USAGE_READ,
        }
    ),
    Role.INSTITUTION_OPERATOR: frozenset(
        {
            Right.INSTITUTIONS_READ,
            Right.TERMINALS_READ,
            Right.TERMINALS_WRITE,
            Right.DISCLOSURE_READ,
            Right.GATEWAYS_READ,
            Right.USAGE_READ,
        }
    ),
    Role.CLERK: frozenset({Right.INSTITUTIONS_READ, Right.TERMINALS_READ}),
}


class RolesApart(EhcError):
    """These roles may not meet in one person, or do not fit the branch that they are for."""

    code = "roles-apart"


def rights_of(roles: Iterable[Role]) -> frozenset[Right]:
    """Everything that these roles may do together."""
    return frozenset().union(*(RIGHTS[role] for role in roles))


def require_fitting(roles: frozenset[Role], branch: Branch) -> None:
    """Raises `RolesApart` for roles that one person may not hold together, or not for this branch."""
    if not roles:
        raise RolesApart(Text("请至少选择一个角色。", "Choose one role at least."))
    if roles & APART and len(roles) > 1:
        raise RolesApart(
            Text(
                "系统、安全、审计管理员须由不同的人担任，且不得兼任其他角色。",
                "System, security and audit administrators are different persons, and hold no other role.",
            )
        )
    if not _fits(roles, branch):
        raise RolesApart(
            Text(
                "三员管理全平台，区域管理员须指定区域，机构管理员和窗口人员须指定机构。",
                "The three administrators are for the whole platform, a region operator is for a region, "
                "an institution operator or clerk for an institution.",
            )
        )


def _fits(roles: frozenset[Role], branch: Branch) -> bool:
    if roles & APART:
        return branch == Branch()
    if Role.REGION_OPERATOR in roles:
        return branch.region is not None and branch.institution_id is None and len(roles) == 1
    return branch.institution_id is not None and branch.region is None
