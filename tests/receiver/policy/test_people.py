"""A person is the key in `people:`; two people may have the same display name."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from process.settings import Secret, SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import Acknowledge, AlertsReceived
from receiver.incident.model import Delivery, Incident, Kind, Notification, Origin, Target
from receiver.messages.compose import Links, Messages
from receiver.messages.link import read
from receiver.messages.templating import Templates
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.directory import Directory
from receiver.policy.coverage import holders
from receiver.policy.routing import Routing
from receiver.store.base import Claimed
from tests.receiver.config.test_config import edited
from tests.receiver.example_site import (
    P2,
    START,
    Clock,
    a_store,
    an_alert,
    deciding,
    of_group,
    received,
    the_current,
    the_policy,
    the_routing,
)

ALEX_OPS = Person("Alex Kim", (Contact("slack", "W1"), Contact("email", "alex.ops@example.com")), zone="Asia/Seoul")
ALEX_WEB = Person("Alex Kim", (Contact("slack", "U2"), Contact("email", "alex.web@example.com")), language="de")
SECRET = "s" * 32


def two_of_a_name() -> Routing:
    people = {**the_routing().people, "alex-web": ALEX_WEB, "alex-ops": ALEX_OPS}
    roles = {**the_routing().roles, "on-call-engineer": ("alex-ops",), "tech-lead": ("alex-web", "alex-ops")}
    return replace(the_routing(), people=people, roles=roles)


def an_incident(*told: Target) -> Incident:
    lanes = tuple(target.lane for target in told)
    delivery = Delivery(told=told, round_lanes=lanes, paged_at=START)
    return Incident(id=1, key="k", team="backend", priority=P2, delivery=delivery)


def test_targets_carry_the_key() -> None:
    targets = two_of_a_name().targets(("tech-lead",), an_incident(), START)
    assert [(t.person, t.address) for t in targets if t.person] == [
        ("alex-web", "U2"),
        ("alex-web", "alex.web@example.com"),
        ("alex-ops", "W1"),
        ("alex-ops", "alex.ops@example.com"),
    ]


def test_the_fallback_of_one_never_pages_the_other_of_the_same_name() -> None:
    configured = two_of_a_name()
    slack = next(t for t in configured.targets(("tech-lead",), an_incident(), START) if t.address == "W1")
    others = configured.fallback(slack, an_incident(slack), START)
    assert [target.address for target in others] == ["alex.ops@example.com"]


def test_who_is_no_longer_configured_has_no_other_way() -> None:
    gone = Target("slack", "U9", "slack:U9", "petra", "tech-lead")
    assert two_of_a_name().fallback(gone, an_incident(gone), START.replace(year=2025)) == ()


def test_holders_are_keys() -> None:
    assert holders(two_of_a_name(), "tech-lead", START) == ("alex-web", "alex-ops")


def test_a_name_is_shown_with_the_key_where_two_share_it() -> None:
    directory = Directory({"linh": Person("Linh", ()), "a": Person("Alex Kim", ()), "b": Person("alex  kim", ())})
    assert [directory.name(key) for key in ("linh", "a", "b", "petra", "")] == [
        "Linh",
        "Alex Kim (a)",
        "alex  kim (b)",
        "petra",
        "",
    ]
    assert directory.keys_by_name() == {"Linh": "linh"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("alex-ops", "alex-ops"),
        ("ALEX.OPS@example.com", "alex-ops"),
        ("alex.two@example.com", "alex-ops"),
        ("Alex Kim", None),  # two are called so
        ("team@example.com", None),  # two are reached there
        ("linh", "linh"),  # her key, though somebody else is called so
        ("Linh", None),
        ("marek  NOVAK", "marek"),
        ("", None),
        ("petra", None),
    ],
)
def test_a_text_means_the_one_person_whom_it_fits(text: str, key: str | None) -> None:
    mails = "alex.ops@example.com,alex.two@example.com,team@example.com"
    people = {
        "alex-ops": Person("Alex Kim", (Contact("email", mails),)),
        "alex-web": Person("Alex Kim", (Contact("email", "team@example.com"), Contact("slack", "marek"))),
        "linh": Person("Linh Tran", ()),
        "other": Person("Linh", ()),
        "marek": Person("Marek Novak", ()),
    }
    assert Directory(people).key(text) == key


async def test_messages_are_of_the_person_and_not_of_the_name(tmp_path: Path) -> None:
    clock, configured = Clock(), two_of_a_name()
    messages = Messages(the_current(configured), Links("https://x.example", 60, Secret(SECRET)), Templates(), clock)
    store = await a_store(tmp_path, clock)
    event = AlertsReceived(of_group(received(an_alert(severity="warning"))))
    incident = await store.update(event, the_policy(configured), clock.now)
    assert incident is not None
    claims = [*await store.claim("email", clock.now, 60, 9), *await store.claim("slack", clock.now, 60, 9)]
    (mail,) = [claimed for claimed in claims if claimed.notification.target.channel == "email"]
    message = messages.one(mail)
    assert ("Paging", "Alex Kim (alex-ops) (on-call engineer)") in message.fields
    assert "12:00 (03:00 UTC)" in message.text  # in Seoul
    grant = read(message.links[0].url.rpartition("/")[2], SECRET, clock.now)
    assert grant.person == "alex-ops"
    (team,) = [claimed for claimed in claims if claimed.notification.target.address == "#alerts-backend"]
    assert messages.one(team).mention == "W1"
    await store.apply(1, deciding(Acknowledge("alex-web", Origin.SLACK), clock.now, configured), clock.now)
    stored = await store.incident(1)
    assert stored is not None
    told = Notification(Kind.ACKNOWLEDGED, mail.notification.target, 1)
    news = messages.one(Claimed(9, stored[0], told, stored[1], 1, clock.now, ""))
    assert news.headline.startswith("Acknowledged by Alex Kim (alex-web)")
    await store.close()


def test_two_of_a_name_are_two_on_a_terminal() -> None:
    config, source = load(Path("deploy/local/receiver.yml"))
    people = {**config.people, "marek": replace(config.people["marek"], name=config.people["linh"].name)}
    configured = build_routing(replace(config, people=people), source)
    addresses = {c.address for key in ("linh", "marek") for c in configured.people[key].contacts if c.channel == "log"}
    assert addresses == {"Linh Tran (linh)", "Linh Tran (marek)"}


@pytest.mark.parametrize("key", ['""', "alerts"])
def test_a_key_that_would_mean_something_else_is_refused(tmp_path: Path, key: str) -> None:
    path = edited(tmp_path, "people:\n", f"people:\n  {key}: {{name: Somebody, email: somebody@example.com}}\n")
    with pytest.raises(SettingsError, match=r"people"):
        load(path)


def test_a_user_of_pagerduty_is_one_person() -> None:
    one, two = Person("Linh", (), pagerduty_user="PONE"), Person("Marek", (), pagerduty_user="PTWO")
    directory = Directory({"linh": one, "marek": two, "aisha": two, "peter": Person("Peter", ())})
    assert [directory.of_pagerduty(user) for user in ("PONE", "PTWO", "", "PONE ")] == ["linh", None, None, None]
