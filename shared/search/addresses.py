"""How e-mail addresses are found: whole, by their domain, and by every domain above it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.search.keywords import Key, Prefix


@dataclass(frozen=True)
class Addresses:
    """The two kinds of terms that a service has for an address, and the form in which it compares them."""

    whole: str
    domain: str
    fold: Callable[[str], str]

    def keys(self, address: str) -> tuple[Key, Key]:
        """The terms under which whoever has this address is found."""
        domain = self.reversed_domain(address.rpartition("@")[2])
        return Key(self.whole, self.fold(address)), Key(self.domain, domain)

    def meanings(self, text: str) -> tuple[Key, ...]:
        """What a keyword with an @ in it means: `@example.com` a domain and all below it, any other an address."""
        if not text.startswith("@"):
            return (Key(self.whole, self.fold(text)),)
        domain = self.reversed_domain(text[1:])
        return Key(self.domain, domain), Prefix(self.domain, f"{domain}.")

    def reversed_domain(self, domain: str) -> str:
        """`mail.example.com` as `com.example.mail`, so that a domain and all below it are neighbours."""
        return ".".join(reversed(self.fold(domain).strip(". ").split(".")))
