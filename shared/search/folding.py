"""The form in which texts that people type are compared."""

import unicodedata


def folded(text: str) -> str:
    """The text without what makes no difference: case, accents, width and runs of blanks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(plain.casefold().split())
