"""The columns of a file of people."""

from ehc.files.pieces import Columns

PEOPLE = Columns(
    (
        "name",
        "id_type",
        "id_number",
        "phone",
        "sex",
        "birth_date",
        "nation",
        "address",
        "employer",
        "level",
        "reference",
    ),
    required=3,
)
"""The members of `POST /v1/cards`, its verification's method as `level`."""
