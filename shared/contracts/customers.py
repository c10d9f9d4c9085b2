"""What the customers service receives, answers and publishes. Its events hold no personal data: who needs it asks."""

from enum import StrEnum
from typing import Annotated, Final, Self
from uuid import UUID

import pycountry
from pydantic import Field, StringConstraints, model_validator

from shared.contracts.message import Command, Data, Event, EventKind, Query
from shared.contracts.purchases import ContactRole, PurchaseStatus
from shared.contracts.values import (
    AllowedAction,
    ClientId,
    ClientOrderId,
    Country,
    Currency,
    Cursor,
    EmailAddress,
    Language,
    Line,
    Moment,
    Money,
    PageSize,
    Phone,
    ReferenceNumber,
    Version,
    possible_number,
)

STATE_REQUIRED: Final = frozenset({"US", "CA"})
"""Countries whose taxes depend on the state."""
_STATES: Final = frozenset(state.code for state in pycountry.subdivisions if state.country_code in STATE_REQUIRED)
REFERENCE_NUMBERS_PER_EVENT: Final = 500


class CustomerKind(StrEnum):
    """Who buys. docs/domain.md, "Customers"."""

    PERSON = "person"
    ORGANISATION = "organisation"


class Salutation(StrEnum):
    MR = "MR"
    MS = "MS"
    MRS = "MRS"
    MISS = "MIS"


class CompanyType(StrEnum):
    COMPANY = "COM"
    GOVERNMENTAL = "GOV"
    MISCELLANEOUS = "MIS"
    NON_PROFIT = "NPR"
    EDUCATION = "UNI"


class ContactDetails(Data):
    """A contact as a person types it. What each role requires is in docs/domain.md, "Contacts of a customer"."""

    language: Language = "en"
    salutation: Salutation | None = None
    title: Line | None = None
    company: Line | None = None
    company_type: CompanyType | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    street1: Line | None = None
    street2: Line | None = None
    postal_code: Line | None = None
    city: Line | None = None
    state: Line | None = None
    """For the United States and Canada the code of ISO 3166-2 without the country, such as `NY`."""
    country: Country | None = None
    email: EmailAddress | None = None
    phone: Phone | None = None
    phone2: Phone | None = None
    fax: Phone | None = None
    vat_id: Line | None = None

    @model_validator(mode="after")
    def _known_state(self) -> Self:
        if self.country not in STATE_REQUIRED or self.state is None:
            return self
        if f"{self.country}-{self.state}" not in _STATES:
            raise ValueError(f"state is not an ISO 3166-2 code of {self.country}")
        return self

    @model_validator(mode="after")
    def _possible_numbers(self) -> Self:
        for name in ("phone", "phone2", "fax"):
            number = getattr(self, name)
            if number is not None and not possible_number(number, self.country):
                raise ValueError(f"{name} is not a telephone number{f' of {self.country}' if self.country else ''}")
        return self


class CustomerChanged(Data):
    """The reply to a change of a customer."""

    customer_id: UUID
    version: Version


class CreateCustomer(Command, key="customers.customer.create.v1", reply=CustomerChanged):
    """Make a customer who has not bought yet."""

    customer_reference: Line | None = None
    """The seller's own id of the customer."""
    currency: Currency | None = None
    billing_contact: ContactDetails
    delivery_contact: ContactDetails | None = None
    licensee_contact: ContactDetails | None = None


class CustomerAddress(Command):
    customer_id: UUID
    expected_version: Version | None = None


class AddContact(CustomerAddress, key="customers.contact.add.v1", reply=CustomerChanged):
    """Give a customer a delivery or licensee contact of its own, where the role shared one until now."""

    role: ContactRole
    contact: ContactDetails


class ContactUpdated(CustomerChanged):
    purchases_updated: int
    """Unpaid purchases whose contacts were asked to follow."""


class UpdateContact(CustomerAddress, key="customers.contact.update.v1", reply=ContactUpdated):
    """Replace the contact in a role. Roles that share it follow; issued documents do not change."""

    role: ContactRole
    contact: ContactDetails
    update_unpaid_purchases: bool = False


class MergeContacts(CustomerAddress, key="customers.contacts.merge.v1", reply=CustomerChanged):
    """Let roles of one customer share a contact: the one of the role merged into stays."""

    into: ContactRole
    roles: Annotated[tuple[ContactRole, ...], Field(min_length=1, max_length=2)]
    """The roles that take over the contact of `into`."""

    @model_validator(mode="after")
    def _other_roles(self) -> Self:
        if self.into in self.roles or len(set(self.roles)) != len(self.roles):
            raise ValueError("roles must be distinct and other than into")
        return self


class CustomersMerged(CustomerChanged):
    survivor_id: UUID


class MergeCustomers(Command, key="customers.customer.merge.v1", reply=CustomersMerged):
    """Declare that two records are the same customer. The merged one becomes an alias; nothing of it is lost."""

    survivor_id: UUID
    merged_id: UUID
    expected_survivor_version: Version | None = None
    expected_merged_version: Version | None = None


class UnmergeCustomer(CustomerAddress, key="customers.customer.unmerge.v1", reply=CustomerChanged):
    """Undo a merge: the alias is a customer of its own again, with all that came to it meanwhile."""


class AnonymizeCustomer(CustomerAddress, key="customers.customer.anonymize.v1", reply=CustomerChanged):
    """Remove the personal data of a customer and of all its aliases, here and in every other service, for good."""


class CustomerRow(Data):
    customer_id: UUID
    client_id: ClientId
    kind: CustomerKind
    customer_reference: str | None = None
    last_name: str | None = None
    first_name: str | None = None
    company: str | None = None
    email: str | None = None
    country: str | None = None
    purchases: int
    """How many, those of its aliases among them."""
    matched: str
    """The form of the keyword under which it was found; the list is in this order."""


class CustomerPage(Data):
    rows: tuple[CustomerRow, ...]
    next_cursor: str | None = None


class SearchCustomers(Query, key="customers.customer.search.v1", reply=CustomerPage):
    """One or more comma-separated keywords, all of which must match.

    A keyword is the beginning of a last name or company, the last four digits of a card, a reference number,
    an e-mail address, or `@domain`.
    """

    keywords: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    limit: PageSize = 25
    cursor: Cursor | None = None


class ContactView(Data):
    contact_id: UUID
    roles: tuple[ContactRole, ...]
    """All three where the customer has one shared set of data."""
    contact: ContactDetails


class CustomerPurchaseView(Data):
    purchase_id: UUID
    reference_number: ReferenceNumber
    client_order_id: ClientOrderId
    customer_id: UUID
    """The record it came to: this customer or an alias of it."""
    status: PurchaseStatus
    ordered_at: Moment
    gross: Money
    paid: Money
    refunded: Money
    """What has gone back."""
    open_refunds: int
    card_last4: str | None


class AnnouncementView(Data):
    """What another service has told about a purchase of the customer."""

    at: Moment
    subject: str
    """What happened, such as `email.sent`."""
    reference_number: ReferenceNumber
    facts: dict[str, str | int | bool | None]


class CustomerChangeView(Data):
    at: Moment
    actor: str
    subject: str
    facts: dict[str, str | int | bool | None]


class AliasView(Data):
    """A record that was merged into this customer."""

    customer_id: UUID
    merged_into: UUID
    customer_reference: str | None = None
    merged_at: Moment
    merged_by: str
    contacts: tuple[ContactView, ...]
    actions: tuple[AllowedAction, ...]


class CustomerTotals(Data):
    """The money of all purchases in one currency."""

    purchases: int
    gross: Money
    paid: Money
    refunded: Money


class CustomerView(CustomerChanged):
    client_id: ClientId
    kind: CustomerKind
    customer_reference: str | None = None
    currency: str | None = None
    created_at: Moment
    changed_at: Moment
    changed_by: str
    anonymized_at: Moment | None = None
    merged_into: UUID | None = None
    """The customer that this record is an alias of; the purchases are shown there."""
    contacts: tuple[ContactView, ...]
    totals: tuple[CustomerTotals, ...]
    purchases: tuple[CustomerPurchaseView, ...]
    """The newest 100."""
    announcements: tuple[AnnouncementView, ...]
    """The newest 100."""
    history: tuple[CustomerChangeView, ...]
    """Who changed the record: the newest 100 changes."""
    aliases: tuple[AliasView, ...]
    actions: tuple[AllowedAction, ...]


class GetCustomer(Query, key="customers.customer.get.v1", reply=CustomerView):
    """The profile of a customer, by its id, by a purchase of it, or by the seller's own id."""

    customer_id: UUID | None = None
    reference_number: ReferenceNumber | None = None
    customer_reference: Line | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        given = [value for value in (self.customer_id, self.reference_number, self.customer_reference) if value]
        if len(given) != 1:
            raise ValueError("give one of customer_id, reference_number and customer_reference")
        return self


class MergedField(Data):
    """A field in which two customers differ. What the survivor has is shown afterwards; the other stays readable."""

    role: ContactRole
    field: str
    survivor: str | None = None
    merged: str | None = None


class MergeSide(Data):
    customer_id: UUID
    customer_reference: str | None = None
    created_at: Moment
    version: Version
    contacts: tuple[ContactView, ...]
    purchases: int
    announcements: int
    aliases: int


class MergePlan(Data):
    """What a merge would do. `refusal` is missing where it may be done."""

    survivor: MergeSide
    merged: MergeSide
    differences: tuple[MergedField, ...]
    refusal: AllowedAction


class PreviewMerge(Query, key="customers.customer.merge-preview.v1", reply=MergePlan):
    """The plan of a merge. Without `survivor_id` the survivor is proposed: more purchases, then the older record."""

    customer_ids: Annotated[tuple[UUID, ...], Field(min_length=2, max_length=2)]
    survivor_id: UUID | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.survivor_id is not None and self.survivor_id not in self.customer_ids:
            raise ValueError("survivor_id must be one of customer_ids")
        return self


class DuplicateReason(StrEnum):
    SAME_EMAIL = "same_email"
    SAME_NAME_AND_PLACE = "same_name_and_place"
    """The same name and the same postal code."""


class DuplicateSuggestion(Data):
    reason: DuplicateReason
    customer_ids: tuple[UUID, ...]
    """The oldest ten of them, oldest first."""
    customers: int


class DuplicatePage(Data):
    rows: tuple[DuplicateSuggestion, ...]
    next_cursor: str | None = None


class ListDuplicates(Query, key="customers.duplicate.list.v1", reply=DuplicatePage):
    """Customers of one client that may be the same."""

    limit: PageSize = 25
    cursor: Cursor | None = None


class CustomerEvent(Event):
    customer_id: UUID
    version: Version


class CustomerCreated(CustomerEvent, key="customers.customer.created.v1", event_kind=EventKind.STATE):
    """There is a new customer."""

    kind: CustomerKind
    customer_reference: Line | None = None


class CustomerUpdated(CustomerEvent, key="customers.customer.updated.v1", event_kind=EventKind.STATE):
    """A customer's data have changed: `change` says what, `customers.customer.get.v1` what to."""

    change: Line
    roles: tuple[ContactRole, ...] = ()


class CustomerMerged(CustomerEvent, key="customers.customer.merged.v1", event_kind=EventKind.STATE):
    """`customer_id` is an alias of `survivor_id` from now on. Listeners add the alias and rewrite nothing."""

    survivor_id: UUID


class CustomerUnmerged(CustomerEvent, key="customers.customer.unmerged.v1", event_kind=EventKind.STATE):
    """`customer_id` is a customer of its own again."""

    survivor_id: UUID
    """Whose alias it was."""


class CustomerAnonymized(CustomerEvent, key="customers.customer.anonymized.v1", event_kind=EventKind.STATE):
    """Whoever keeps personal data of these purchases removes it, for good; late messages must not bring it back.

    A customer with very many purchases is announced in several events of the same version.
    """

    reference_numbers: Annotated[tuple[ReferenceNumber, ...], Field(max_length=REFERENCE_NUMBERS_PER_EVENT)] = ()
    client_order_ids: Annotated[tuple[ClientOrderId, ...], Field(max_length=REFERENCE_NUMBERS_PER_EVENT)] = ()
    """The seller's numbers of the same purchases, for messages that failed before there was a reference number."""
