"""Made up purchases as rows of the services' tables, in the text form of COPY."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from services.customers.identity.rules import fold as customers_fold
from services.customers.identity.rules import fold_email
from services.purchases.search_rules import fold as purchases_fold
from tools.load.made_up import ACTOR, CURRENCY, TAX_RATE, Made, Plan

Lines = Iterator[str]
_PAYMENT: Final = 1
_RECORDED: Final = 2
_PAID: Final = 3
_CUSTOMER: Final = 4
_CONTACT: Final = 5
_CREATED: Final = 6
_ATTACHED: Final = 7


@dataclass(frozen=True)
class Copied:
    """A table that is filled: its columns, and a made up purchase's lines in it."""

    table: str
    columns: tuple[str, ...]
    lines: Callable[[Made, Plan], Lines]


def _purchase(made: Made, plan: Plan) -> Lines:
    person, contact = made.person, made.person.contact
    tax = sum(item.tax for item in made.items)
    at = made.stamp
    yield (
        f"{made.id}\t{made.reference_number}\t{plan.client_id}\t{plan.prefix}{made.number}\t"
        f"{plan.prefix}{person.reference}\tpaid\t{at}\t{at}\t{person.payment_type}\t{person.last4}\t{CURRENCY}\t"
        f"{made.gross}\t{tax}\t{made.gross}\t0\t0\t{contact}\t{contact}\t{contact}\t1\t{at}\t{ACTOR}\t{at}\t{ACTOR}\n"
    )


def _items(made: Made, _plan: Plan) -> Lines:
    for number, item in enumerate(made.items, start=1):
        yield (
            f"{made.id}\t{number}\tP{item.product}\tProduct number {item.product}\t{item.quantity}\t"
            f"{item.unit_price}\t{TAX_RATE}\t{item.gross}\t{item.tax}\t0\t0\t0\n"
        )


def _payment(made: Made, _plan: Plan) -> Lines:
    at = made.stamp
    yield f"{made.id_of(_PAYMENT)}\t{made.id}\t{made.gross}\t{at}\t{at}\t{ACTOR}\n"


def _history(made: Made, _plan: Plan) -> Lines:
    at, purchase = made.stamp, made.id
    yield (
        f"{made.id_of(_RECORDED)}\t{purchase}\t{at}\t{ACTOR}\tf\tpurchase.recorded\t"
        f'{{"status": "paid", "gross": {made.gross}}}\tload\n'
    )
    yield (
        f"{made.id_of(_PAID)}\t{purchase}\t{at}\t{ACTOR}\tf\tpayment.recorded\t"
        f'{{"amount": {made.gross}, "currency": "{CURRENCY}", "status": "paid"}}\tload\n'
    )


def _purchase_keys(made: Made, plan: Plan) -> Lines:
    person = made.person
    rest = f"{plan.client_id}\t{made.stamp}\n"
    for kind, term in (
        ("card_last4", person.last4),
        ("client_order_id", f"{plan.folded_prefix}{made.number}"),
        ("company", purchases_fold(person.company) if person.company else None),
        ("email", person.email),
        ("email_domain", person.domain_term),
        ("last_name", person.name.purchases_term),
    ):
        if term is not None:
            yield f"{made.id}\t{kind}\t{term}\t{rest}"


PURCHASES: Final = (
    Copied(
        "purchase",
        ("id", "reference_number", "client_id", "client_order_id", "customer_reference", "status", "ordered_at",
         "paid_at", "payment_type", "card_last4", "currency", "gross", "tax", "paid", "refunded", "returned",
         "billing_contact", "delivery_contact", "licensee_contact", "version", "created_at", "created_by",
         "changed_at", "changed_by"),
        _purchase,
    ),
    Copied(
        "purchase_item",
        ("purchase_id", "running_number", "product_id", "product_name", "quantity", "unit_price", "tax_rate", "gross",
         "tax", "refunded", "refunded_tax", "refunded_quantity"),
        _items,
    ),
    Copied("payment", ("id", "purchase_id", "amount", "paid_at", "recorded_at", "recorded_by"), _payment),
    Copied(
        "history_entry",
        ("id", "purchase_id", "at", "actor", "is_manual", "subject", "facts", "correlation_id"),
        _history,
    ),
    Copied("search_key", ("purchase_id", "kind", "term", "client_id", "ordered_at"), _purchase_keys),
)  # fmt: skip


def customer_id(made: Made, plan: Plan) -> str:
    """The id of the customer of a purchase, which came with its first one."""
    if made.is_first:
        return made.id_of(_CUSTOMER)
    # The same moment and number as those of the customer's first purchase give the same id.
    return plan.first_of(made).id_of(_CUSTOMER)


def _customer(made: Made, plan: Plan) -> Lines:
    if made.is_first:
        at, own = made.stamp, made.id_of(_CUSTOMER)
        yield (
            f"{own}\t{plan.client_id}\tperson\t{plan.prefix}{made.person.reference}\t{CURRENCY}\t{own}\t1\t"
            f"{at}\t{ACTOR}\t{at}\t{ACTOR}\n"
        )


def _contact(made: Made, _plan: Plan) -> Lines:
    if made.is_first:
        contact = made.person.contact
        at = made.stamp
        yield f"{made.id_of(_CONTACT)}\t{made.id_of(_CUSTOMER)}\tt\tt\tt\t{contact}\t{at}\t{ACTOR}\n"


def _identity(made: Made, plan: Plan) -> Lines:
    if made.is_first:
        person, own = made.person, made.id_of(_CUSTOMER)
        yield f"{plan.client_id}\treference\t{plan.prefix}{person.reference}\t{own}\n"
        known_as = f"{fold_email(person.email)} {person.name.customers_term}"
        yield f"{plan.client_id}\temail_and_name\t{known_as}\t{own}\n"


def _customer_keys(made: Made, plan: Plan) -> Lines:
    person, own = made.person, customer_id(made, plan)
    terms = [("reference_number", str(made.reference_number))]
    if made.is_first:
        terms += [
            ("card_last4", person.last4),
            ("email", fold_email(person.email)),
            ("email_domain", person.domain_term),
            ("last_name", person.name.customers_term),
        ]
        if person.company:
            terms.append(("company", customers_fold(person.company)))
    for kind, term in terms:
        yield f"{own}\t{kind}\t{term}\t{plan.client_id}\t{own}\n"


def _bought(made: Made, plan: Plan) -> Lines:
    yield (
        f"{made.id}\t{plan.client_id}\t{customer_id(made, plan)}\t{made.reference_number}\t"
        f"{plan.prefix}{made.number}\tpaid\t1\t{made.stamp}\t{CURRENCY}\t{made.gross}\t{made.person.last4}\n"
    )


def _movement(made: Made, _plan: Plan) -> Lines:
    yield f"{made.id_of(_PAYMENT)}\t{made.id}\tpayment\tdone\t{made.gross}\n"


def _changes(made: Made, plan: Plan) -> Lines:
    at, own = made.stamp, customer_id(made, plan)
    if made.is_first:
        yield f"{made.id_of(_CREATED)}\t{own}\t{at}\t{ACTOR}\tcustomer.created\t{{}}\tload\n"
    facts = f'{{"reference_number": "{made.reference_number}"}}'
    yield f"{made.id_of(_ATTACHED)}\t{own}\t{at}\t{ACTOR}\tpurchase.attached\t{facts}\tload\n"


CUSTOMERS: Final = (
    Copied(
        "customer",
        ("id", "client_id", "kind", "customer_reference", "currency", "root_id", "version", "created_at", "created_by",
         "changed_at", "changed_by"),
        _customer,
    ),
    Copied(
        "contact",
        ("id", "customer_id", "is_billing", "is_delivery", "is_licensee", "fields", "created_at", "created_by"),
        _contact,
    ),
    Copied("identity", ("client_id", "kind", "term", "customer_id"), _identity),
    Copied("search_key", ("customer_id", "kind", "term", "client_id", "root_id"), _customer_keys),
    Copied(
        "purchase",
        ("id", "client_id", "customer_id", "reference_number", "client_order_id", "status", "status_version",
         "ordered_at", "currency", "gross", "card_last4"),
        _bought,
    ),
    Copied("movement", ("id", "purchase_id", "kind", "state", "amount"), _movement),
    Copied("change", ("id", "customer_id", "at", "actor", "subject", "facts", "correlation_id"), _changes),
)  # fmt: skip
TABLES: Final = {"purchases": PURCHASES, "customers": CUSTOMERS}
