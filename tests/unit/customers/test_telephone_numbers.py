"""A telephone number that cannot be dialled is a typing mistake, and is told while the person is still there."""

import pytest
from pydantic import ValidationError

from shared.contracts.customers import ContactDetails


@pytest.mark.parametrize(
    ("number", "country"),
    [("+49 30 1234567", None), ("030 1234567", "DE"), ("(212) 555-0100", "US"), ("+1 212 555 0100", "DE")],
)
def test_a_number_that_can_be_dialled_is_kept_as_typed(number: str, country: str | None) -> None:
    assert ContactDetails(phone=number, country=country).phone == number


@pytest.mark.parametrize(
    ("number", "country"),
    [("030 1234567", None), ("1" * 18, "DE"), ("+49 1", None), ("+999 123456", None), ("555-0100-0100-0100", "US")],
)
@pytest.mark.parametrize("field", ["phone", "phone2", "fax"])
def test_a_number_that_cannot_is_refused_by_name(field: str, number: str, country: str | None) -> None:
    with pytest.raises(ValidationError, match=f"{field} is not a telephone number"):
        ContactDetails.model_validate({field: number, "country": country})
