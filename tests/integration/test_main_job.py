from tests.support.service import Service


def test_a_code_is_accepted_once_and_refused_at_the_next_terminal(service: Service) -> None:
    card = service.app.register()
    code = service.app.code(card["card_id"])
    first = service.terminal.scan(code)
    second = service.second_terminal.scan(code)
    assert (first["outcome"], second["outcome"], second["reason"]) == ("accepted", "rejected", "already-used")
    assert first["resident"] == {"name": "王**", "sex": "1", "age": 36}
