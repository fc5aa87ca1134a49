"""`site` of receiver.yml: whose product it is, in every message and calendar, and where the runbooks are."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml

from process.settings import Secret, SettingsError
from receiver.channels.base import Brand, Message
from receiver.channels.email import compose
from receiver.channels.pagerduty import PagerDutyEvents
from receiver.channels.slack_blocks import card
from receiver.clients.http_api import open_session
from receiver.config.load import load
from receiver.messages.templating import Templates
from receiver.oncall.directory import Directory
from receiver.oncall.ical import export
from receiver.oncall.schedule import Shift
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver.channels.test_channels import KEY, message
from tests.receiver.config.test_config import EXAMPLE, edited
from tests.receiver.example_site import START
from tests.receiver.messages.test_messages import bundled, incidents, one

FERRY = Brand("Fjord & Line", "Fjord")
HOUSE = "heypeter"


def branded(incident: str = "12-1") -> Message:
    return message(address="a@example.com", brand=FERRY, incident=incident)


def test_a_mail_has_the_name_in_its_list_id_and_the_prefix_in_its_headers() -> None:
    mail = compose(branded(), "Fjord <alerts@example.com>")
    assert mail["List-Id"] == "Fjord & Line <alerts.example.com>"
    assert [mail[f"X-Fjord-{name}"] for name in ("Incident", "Kind", "Priority")] == ["12-1", "page", "P1"]
    assert HOUSE not in str(mail).casefold()


def test_a_message_and_a_bundle_say_whose_they_are() -> None:
    templates = Templates(brand=FERRY)
    for made in (one(templates), bundled(incidents(3), templates=templates)):
        assert made.brand == FERRY
        assert "Fjord &amp; Line · " in made.html
        assert HOUSE not in made.html.casefold()


def test_slack_has_the_name_in_its_footer_and_no_markup_of_it() -> None:
    shown = str(card(branded()))
    assert "Fjord &amp; Line" in shown
    assert "HeyPeter Monitoring" not in shown


async def test_pagerduty_is_told_the_name() -> None:
    server = FakePagerDuty({KEY})
    await server.start()
    try:
        async with open_session() as session:
            channel = PagerDutyEvents(
                {"staff": Secret(KEY)}, session, api_url=server.url, client_url="https://oncall.example.com"
            )
            await channel.send(msgspec.structs.replace(branded(), address="staff", labels={}))
            channel.close()
    finally:
        await server.stop()
    (call,) = server.calls
    assert (call.body["client"], call.body["payload"]["source"]) == (FERRY.name, FERRY.name)


def test_a_calendar_has_the_name() -> None:
    shift = Shift(START, START + timedelta(days=1), ("linh",))
    text = export("engineers", [shift], Directory({}), START, FERRY.name).decode()
    assert "PRODID:-//Fjord & Line//on call//EN" in text
    assert "@fjord-line" in text


def test_the_section_site_is_read(tmp_path: Path) -> None:
    config = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    config["site"] = {"name": "Fjord & Line", "header_prefix": "Fjord", "runbooks_url": "https://wiki.example.com/r"}
    path = tmp_path / "receiver.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    assert load(path)[0].site.brand == FERRY


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("header_prefix: HeyPeter", "header_prefix: 'Hey Peter'", "site.header_prefix"),
        ("name: HeyPeter Monitoring", 'name: "a\\nBcc: x"', "site.name"),
        ("name: HeyPeter Monitoring", "name: a <b@c>", "site.name"),
        ("runbooks_url: https://github", "runbooks_url: ftp://github", "site.runbooks_url"),
    ],
)
def test_what_a_header_could_not_hold_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(edited(tmp_path, old, new))
