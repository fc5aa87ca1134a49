"""Makes text of others safe in a mail's header. Pure.

Python up to 3.11.9 and 3.12.3 decodes an RFC 2047 encoded-word in what it is given and writes the line breaks that it
finds as line breaks (github.com/python/cpython/issues/121650): `=?utf-8?q?a=0D=0ABcc:_x@y?=` would be a header more.
Later ones pass the word on, and the reader's program decodes it. So none is left, whatever the Python.
"""

import re
from email.header import Header, decode_header, make_header
from email.headerregistry import Address
from email.policy import EmailPolicy
from email.utils import parseaddr

_SUBJECT = "Subject"
ENCODED_WORD = "=?"  # how every one begins (RFC 2047, 2)
_NOT_OF_A_TOKEN = re.compile(r"[^\w.+-]")


class WholeSubject(EmailPolicy):
    """Writes a subject that is not ASCII as encoded-words from its beginning to its end.

    The standard library encodes some words of it, glues them to others, and readers then see the encoded text:
    `\u00a1\u00a1=?utf-8?q?=F0=94=90=80?=\u00a1` (Python 3.11 to 3.14; RFC 2047, 5 wants blanks between them).
    """

    def fold(self, name: str, value: str) -> str:
        """Write the header with its line breaks."""
        return self._subject(name, value) or super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        """Write the header with its line breaks, as bytes."""
        return self._subject(name, value).encode("ascii") or super().fold_binary(name, value)

    def _subject(self, name: str, value: str) -> str:
        if name != _SUBJECT or value.isascii():
            return ""
        return f"{name}: {Header(value, 'utf-8', header_name=name).encode(linesep=self.linesep)}{self.linesep}"


def header_text(text: str) -> str:
    """One line of visible characters in which nothing reads as an encoded-word: a blank keeps `=` and `?` apart."""
    visible = "".join(c if c == "\u200d" or c.isprintable() else " " for c in text)
    return " ".join(visible.replace(ENCODED_WORD, "= ?").split())


def token(text: str) -> str:
    """What an id or a header of ours may hold: letters, digits and `.+-_`; each other character becomes `-`."""
    return _NOT_OF_A_TOKEN.sub("-", text).encode("ascii", "replace").decode().replace("?", "-")


def mailbox(text: str) -> Address:
    """Read ``Name <address>``; a name that is an encoded-word is decoded first. ValueError if it is no address."""
    name, address = parseaddr(text)
    try:
        shown = str(make_header(decode_header(name)))
    except (ValueError, LookupError):  # an unknown charset, or bytes that are not of it
        shown = name
    return Address(display_name=header_text(shown), addr_spec=address)


def ascii_domain(address: str) -> str:
    """Give the domain of an address as Message-ID and List-Id need it, which are ASCII."""
    domain = address.rpartition("@")[2]
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return token(domain)
