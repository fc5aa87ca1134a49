"""Roles are ordered, and the viewer of a message's link reaches one incident."""

import pytest

from receiver.web.access.viewer import Role, Viewer


def test_roles_are_ordered() -> None:
    assert Role.VIEWER < Role.RESPONDER < Role.ADMIN
    assert Role.ADMIN >= Role.ADMIN >= Role.VIEWER
    assert not Role.VIEWER >= Role.RESPONDER
    assert not Role.VIEWER > Role.VIEWER
    assert Role.VIEWER <= Role.VIEWER
    assert max(Role) is Role.ADMIN


@pytest.mark.parametrize(
    ("only", "asked", "allowed"), [(None, None, True), (None, 7, True), (7, 7, True), (7, 8, False), (7, None, False)]
)
def test_a_link_reaches_its_incident_only(only: int | None, asked: int | None, allowed: bool) -> None:
    viewer = Viewer("linh", "Linh Tran", Role.RESPONDER, "link", only)
    assert viewer.may(Role.RESPONDER, asked) is allowed
    assert not viewer.may(Role.ADMIN, asked)


def test_the_actor_is_the_person_or_else_the_name() -> None:
    assert Viewer("linh", "Linh Tran", Role.RESPONDER, "session").actor == "linh"
    assert Viewer("", "deploy robot", Role.RESPONDER, "token").actor == "deploy robot"


def test_a_program_that_is_nobodys_may_act_for_somebody_and_the_log_says_which_it_is() -> None:
    robot = Viewer("", "deploy robot", Role.RESPONDER, "token")
    assert (robot.acts_as("linh"), robot.acts_as(""), robot.way) == ("linh", "deploy robot", "token deploy robot")
    owned = Viewer("linh", "linh's script", Role.RESPONDER, "token")
    assert owned.acts_as("marek") == "linh"
    person = Viewer("", "guest@example.com", Role.RESPONDER, "session")
    assert (person.acts_as("marek"), person.way) == ("guest@example.com", "session")
