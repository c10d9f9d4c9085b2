"""Roles of staff, what each may do, and what every command and query needs. docs/domain.md, "Staff and permissions".

A new command or query gets one line in `NEEDED`; without it nobody of the staff may send it, and a test says so.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Permission(StrEnum):
    """`noun:action`: what a role allows."""

    PURCHASE_READ = "purchase:read"
    PURCHASE_RECORD = "purchase:record"
    PURCHASE_CANCEL = "purchase:cancel"
    PAYMENT_RECORD = "payment:record"
    REFUND_CREATE = "refund:create"
    DELIVERY_RENEW = "delivery:renew"
    HISTORY_ENTRY_ADD = "history-entry:add"
    HISTORY_ENTRY_INTERNAL = "history-entry:internal"
    """To write and read entries that a client's own staff does not see."""
    X_PARAMETER_ADD = "x-parameter:add"
    REVENUE_READ = "revenue:read"
    CUSTOMER_READ = "customer:read"
    CUSTOMER_EDIT = "customer:edit"
    CUSTOMER_MERGE = "customer:merge"
    CUSTOMER_ANONYMIZE = "customer:anonymize"
    CONTACT_EDIT = "contact:edit"
    QUOTE_LINK_EDIT = "quote-link:edit"
    EMAIL_READ = "email:read"
    EMAIL_EDIT = "email:edit"
    ENDPOINT_READ = "endpoint:read"
    ENDPOINT_EDIT = "endpoint:edit"
    FOLLOW_UP_READ = "follow-up:read"
    FOLLOW_UP_EDIT = "follow-up:edit"
    FOLLOW_UP_DELETE = "follow-up:delete"
    DOCUMENT_READ = "document:read"
    DOCUMENT_EDIT = "document:edit"
    DOCUMENT_VALIDATE = "document:validate"
    ERROR_READ = "error:read"
    ERROR_EDIT = "error:edit"
    CLIENT_READ = "client:read"
    CLIENT_CONFIGURE = "client:configure"
    OFFICE_READ = "office:read"
    OFFICE_EDIT = "office:edit"
    USER_READ = "user:read"
    USER_EDIT = "user:edit"
    AUDIT_READ = "audit:read"


class Role(StrEnum):
    """What a person is for a client. A person may have several."""

    VIEWER = "viewer"
    SUPPORT_AGENT = "support_agent"
    SENIOR_SUPPORT = "senior_support"
    SALES = "sales"
    TAX_REVIEWER = "tax_reviewer"
    INTEGRATOR = "integrator"
    CLIENT_ADMIN = "client_admin"
    PLATFORM_AGENT = "platform_agent"


_P = Permission

PLATFORM_ROLES: Final = frozenset({Role.PLATFORM_AGENT})
"""Roles that only the platform's own staff can have."""

_VIEWER: Final = frozenset(
    {
        _P.PURCHASE_READ,
        _P.CUSTOMER_READ,
        _P.EMAIL_READ,
        _P.FOLLOW_UP_READ,
        _P.DOCUMENT_READ,
        _P.ERROR_READ,
        _P.CLIENT_READ,
        _P.OFFICE_READ,
    }
)
_SUPPORT_AGENT: Final = _VIEWER | {
    _P.HISTORY_ENTRY_ADD,
    _P.FOLLOW_UP_EDIT,
    _P.EMAIL_EDIT,
    _P.X_PARAMETER_ADD,
    _P.CONTACT_EDIT,
    _P.CUSTOMER_EDIT,
}
_SENIOR_SUPPORT: Final = _SUPPORT_AGENT | {
    _P.REFUND_CREATE,
    _P.PURCHASE_CANCEL,
    _P.CUSTOMER_MERGE,
    _P.FOLLOW_UP_DELETE,
    _P.DELIVERY_RENEW,
}
_SALES: Final = _VIEWER | {_P.CUSTOMER_EDIT, _P.CONTACT_EDIT, _P.QUOTE_LINK_EDIT, _P.REVENUE_READ}
_TAX_REVIEWER: Final = _VIEWER | {_P.DOCUMENT_EDIT, _P.DOCUMENT_VALIDATE}
_INTEGRATOR: Final = _VIEWER | {_P.ENDPOINT_READ, _P.ENDPOINT_EDIT, _P.ERROR_EDIT}

ROLES: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.VIEWER: _VIEWER,
        Role.SUPPORT_AGENT: _SUPPORT_AGENT,
        Role.SENIOR_SUPPORT: _SENIOR_SUPPORT,
        Role.SALES: _SALES,
        Role.TAX_REVIEWER: _TAX_REVIEWER,
        Role.INTEGRATOR: _INTEGRATOR,
        Role.CLIENT_ADMIN: frozenset(Permission) - {_P.HISTORY_ENTRY_INTERNAL},
        Role.PLATFORM_AGENT: _SENIOR_SUPPORT | _SALES | _TAX_REVIEWER | _INTEGRATOR | {_P.HISTORY_ENTRY_INTERNAL},
    }
)

NEEDED: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        "customers.contact.add.v1": _P.CONTACT_EDIT,
        "customers.contact.update.v1": _P.CONTACT_EDIT,
        "customers.contacts.merge.v1": _P.CONTACT_EDIT,
        "customers.customer.anonymize.v1": _P.CUSTOMER_ANONYMIZE,
        "customers.customer.create.v1": _P.CUSTOMER_EDIT,
        "customers.customer.get.v1": _P.CUSTOMER_READ,
        "customers.customer.merge-preview.v1": _P.CUSTOMER_READ,
        "customers.customer.merge.v1": _P.CUSTOMER_MERGE,
        "customers.customer.search.v1": _P.CUSTOMER_READ,
        "customers.customer.unmerge.v1": _P.CUSTOMER_MERGE,
        "customers.duplicate.list.v1": _P.CUSTOMER_READ,
        "directory.audit.list.v1": _P.AUDIT_READ,
        "directory.client.configure.v1": _P.CLIENT_CONFIGURE,
        "directory.client.get.v1": _P.CLIENT_READ,
        "directory.client.list.v1": _P.CLIENT_READ,
        "directory.department.list.v1": _P.OFFICE_READ,
        "directory.department.save.v1": _P.OFFICE_EDIT,
        "directory.office.list.v1": _P.OFFICE_READ,
        "directory.office.save.v1": _P.OFFICE_EDIT,
        "directory.role.assign.v1": _P.USER_EDIT,
        "directory.user.list.v1": _P.USER_READ,
        "directory.user.save.v1": _P.USER_EDIT,
        "errorlog.error.complete.v1": _P.ERROR_EDIT,
        "errorlog.error.get.v1": _P.ERROR_READ,
        "errorlog.error.list.v1": _P.ERROR_READ,
        "notifications.email.get.v1": _P.EMAIL_READ,
        "notifications.email.hold.v1": _P.EMAIL_EDIT,
        "notifications.email.list.v1": _P.EMAIL_READ,
        "notifications.email.queue.v1": _P.EMAIL_EDIT,
        "notifications.email.send.v1": _P.EMAIL_EDIT,
        "purchases.contact.update.v1": _P.CONTACT_EDIT,
        "purchases.payment.record.v1": _P.PAYMENT_RECORD,
        "purchases.purchase.get.v1": _P.PURCHASE_READ,
        "purchases.purchase.record.v1": _P.PURCHASE_RECORD,
        "purchases.purchase.search.v1": _P.PURCHASE_READ,
        "purchases.refund.request.v1": _P.REFUND_CREATE,
    }
)
"""The one permission that a person needs to send a command or query, by routing key."""


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """What these roles allow together."""
    return frozenset[Permission]().union(*(ROLES[role] for role in roles))


def roles_with(permission: Permission | None) -> frozenset[Role]:
    """The roles that have a permission; none has what a message without a declared permission needs."""
    return frozenset(role for role, allowed in ROLES.items() if permission in allowed)
