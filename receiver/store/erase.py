"""What erasing a departed person needs of a store."""

from collections.abc import Iterable
from typing import Protocol

from receiver.store.access import Erased
from receiver.store.audit import Act


class EraseStore(Protocol):
    """Takes the name and the addresses of a person out of everything that is kept."""

    async def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        """Erase them: ``texts`` are their names and addresses, ``person`` their key, which a number replaces.

        By parts: an error in between leaves a part undone, and the next call does it.

        Raises:
            ValueError: a text is too short or too long, or there are too many.
            StoreError: it could not be made durable.
        """
