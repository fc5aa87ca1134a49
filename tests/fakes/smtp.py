"""A real SMTP server (aiosmtpd) that keeps what it is sent and refuses what it is told to."""

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import free_port


class FakeSMTP:
    """``mails`` lists (recipients, message), ``contents`` its bytes.

    ``refusals`` answers the next recipients, ``replies`` the next DATA.
    ``attempts`` counts MAIL commands, ``hang`` are seconds before each is answered; STARTTLS and AUTH are aiosmtpd's
    own options (``tls_context``, ``require_starttls``, ``authenticator``, ...), given to ``start``.
    """

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.contents: list[bytes] = []
        self.refusals: list[str] = []
        self.replies: list[str] = []
        self.connections = 0
        self.attempts = 0
        self.hang = 0.0

    def start(self, port: int = 0, **options: Any) -> None:  # noqa: ANN401  # aiosmtpd's own
        if not port:  # aiosmtpd asks the port itself whether it is up, so it must be known before
            port = free_port()
        self.port = port
        self._controller = Controller(self, hostname="127.0.0.1", port=port, ready_timeout=60, **options)
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_MAIL(  # noqa: N802  # aiosmtpd's names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        if self.hang:
            await asyncio.sleep(self.hang)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # as above
        self.connections += 1
        if self.replies:
            return self.replies.pop(0)
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.contents.append(content)
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.mails.append((list(envelope.rcpt_tos), message))
        return "250 OK"
