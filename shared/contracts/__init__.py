"""Every message of the system. Importing this package registers them all."""

from shared.contracts import customers, directory, errorlog, notifications, purchases
from shared.contracts.message import Message

SERVICES = frozenset(message.owner() for message in Message.registered.values())
"""The services are the owners of messages; their users on the broker bear the same names."""

__all__ = ["SERVICES", "customers", "directory", "errorlog", "notifications", "purchases"]
