"""What the issuer keeps of how an identity was proved."""

import pytest
from sqlalchemy import select

from ehc.cards.models import CardEventRow
from ehc.keystore import secret_keys
from tests.support.service import Service


def test_the_reference_of_every_proof_is_kept_sealed_the_weaker_ones_too(service: Service) -> None:
    service.app.register(verification={"method": "self-declared", "reference": "app-7"})
    service.app.register(verification={"method": "clerk", "reference": "窗口-3"})
    service.app.register(verification={"method": "document-seen", "reference": "weaker"})
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
        events = session.scalars(select(CardEventRow)).all()
        actions = sorted(event.action for event in events)
        opened = [
            (event.level, sealer.unseal(event.evidence or b"", f"card_event.evidence:{event.id}")) for event in events
        ]
    assert sorted(opened) == [("clerk", "weaker"), ("clerk", "窗口-3"), ("self-declared", "app-7")]
    assert actions == ["level-raised", "proof-shown", "registered"]


@pytest.mark.parametrize(("sex", "nation"), [("2", "05"), ("female", "维吾尔族")])
def test_sex_and_ethnicity_may_be_codes_or_words(service: Service, sex: str, nation: str) -> None:
    card = service.app.register(sex=sex, nation=nation)
    assert card["resident"]["sex"] == "2"
