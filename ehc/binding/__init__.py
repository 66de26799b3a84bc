"""Bindings (绑定): plastic cards, hospital patient ids and bank accounts that lead to a card, each proved and undone here."""
