"""Drop-in gateways: other systems' interfaces on our cards. Thin translators onto the rooms."""
