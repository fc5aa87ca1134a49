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
