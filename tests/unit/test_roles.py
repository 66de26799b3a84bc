"""Which roles may meet in one person, and for which branch."""

from itertools import combinations
from uuid import UUID

import pytest

from ehc.access.roles import APART, RIGHTS, RolesApart, require_fitting, rights_of
from ehc.callers import Branch, Right, Role

_ALL, _REGION, _HOSPITAL = Branch(), Branch(region="370000"), Branch(institution_id=UUID(int=1))


@pytest.mark.parametrize("pair", sorted(combinations(sorted(Role), 2)))
def test_the_three_administrators_hold_no_other_role(pair: tuple[Role, Role]) -> None:
    if set(pair) & APART:
        for branch in (_ALL, _REGION, _HOSPITAL):
            with pytest.raises(RolesApart):
                require_fitting(frozenset(pair), branch)


@pytest.mark.parametrize(
    ("role", "branch"),
    [(role, _ALL) for role in sorted(APART)]
    + [(Role.REGION_OPERATOR, _REGION), (Role.INSTITUTION_OPERATOR, _HOSPITAL), (Role.CLERK, _HOSPITAL)],
)
def test_each_role_is_for_its_kind_of_branch_alone(role: Role, branch: Branch) -> None:
    require_fitting(frozenset({role}), branch)
    for other in {_ALL, _REGION, _HOSPITAL} - {branch}:
        with pytest.raises(RolesApart):
            require_fitting(frozenset({role}), other)


def test_an_operator_of_an_institution_may_work_at_its_counter() -> None:
    require_fitting(frozenset({Role.INSTITUTION_OPERATOR, Role.CLERK}), _HOSPITAL)


def test_somebody_without_a_role_is_refused() -> None:
    with pytest.raises(RolesApart):
        require_fitting(frozenset(), _ALL)


def test_who_makes_accounts_does_not_grant_roles_and_who_reads_the_log_changes_nothing() -> None:
    assert Right.ROLES_GRANT not in RIGHTS[Role.SYSTEM_ADMIN]
    assert Right.STAFF_WRITE not in RIGHTS[Role.SECURITY_ADMIN]
    assert {right for right in RIGHTS[Role.AUDIT_ADMIN] if not right.endswith(".read")} == set()
    assert {role for role in Role if Right.AUDIT_READ in RIGHTS[role]} == {Role.AUDIT_ADMIN}


def test_every_right_is_somebodys() -> None:
    assert rights_of(Role) == frozenset(Right)
