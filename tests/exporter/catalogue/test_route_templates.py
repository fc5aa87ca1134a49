"""Routes as frameworks and browsers write them, and templates that could never match."""

import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue.route_templates import TemplateError, Templates, guess
from exporter.config import load
from process.settings import SettingsError

CLASS = "/lớp/[id]"
_NFD = unicodedata.normalize("NFD", CLASS)
_SPELLINGS = [
    "/lớp/42",
    "/l%E1%BB%9Bp/42",
    "/l%e1%bb%9bp/42",
    "/lo%CC%9B%CC%81p/42",
    unicodedata.normalize("NFD", "/lớp/42"),
]


@pytest.mark.parametrize("template", [CLASS, _NFD, "/l%E1%BB%9Bp/[id]", "/l%e1%bb%9bp/[id]"])
@pytest.mark.parametrize("path", [*_SPELLINGS, "https://app.example.com/l%E1%BB%9Bp/42?tab=1#top"])
def test_one_path_in_every_spelling_is_one_route(template: str, path: str) -> None:
    assert Templates((template,)).match(path) == template


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("//wp-admin", None),
        ("//wp-admin/setup.php?step=1", None),
        ("//evil.example/courses", None),
        ("//courses", "/courses"),  # as `/courses//`
        ("//[x", None),
        ("//", "/"),
    ],
)
def test_what_follows_two_slashes_is_a_path_and_no_host(path: str, route: str | None) -> None:
    assert Templates(("/", "/courses")).match(path) == route
    assert guess(path) != "/" or route == "/"


@pytest.mark.parametrize(
    ("template", "matching", "others"),
    [
        ("/docs/[[...slug]]", ["/docs", "/docs/", "/docs/a", "/docs/a/b"], ["/", "/doc"]),
        ("/docs/[...slug]", ["/docs/a", "/docs/a/b"], ["/docs", "/docs/"]),
        ("/[[...slug]]", ["/", "/a", "/a/b", ""], []),
        ("/a/*", ["/a/b", "/a/b/c"], ["/a"]),
        ("/a/*rest", ["/a/b", "/a/b/c"], ["/a"]),
        ("/a/[course-id]", ["/a/b", "/a/%2F", "/a/%FF"], ["/a", "/a/b/c"]),
        ("/a/{id}", ["/a/b"], ["/a", "/a/b/c"]),
        ("/a/{id:int}", ["/a/42"], ["/a/b", "/a/4b", "/a/-1", "/a/٤"]),
        (r"/a/{id:\d+}", ["/a/42"], ["/a/b"]),
        (r"/a/{year:\d{4}}/x", ["/a/2026/x"], ["/a/2026"]),
        ("/a/{path:path}", ["/a", "/a/b", "/a/b/c"], ["/b"]),
        ("/a/{path...}", ["/a/b", "/a/b/c"], ["/a"]),
        ("/a/{id?}", ["/a", "/a/b"], ["/a/b/c"]),
        ("/a/<id>", ["/a/b"], ["/a"]),
        ("/a/<int:id>", ["/a/42"], ["/a/b"]),
        ("/a/<uuid:id>/x", ["/a/550e8400-e29b-41d4-a716-446655440000/x"], ["/a/x"]),
        ("/a/<path:rest>", ["/a/b/c"], ["/a"]),
        ("users/<int:id>/", ["/users/42/", "/users/42"], ["/users/anna"]),
        ("/a/:id", ["/a/b"], ["/a", "/a/b/c"]),
        ("/a/:id/", ["/a/b", "/a/b/"], ["/a"]),
        ("/a/:id?", ["/a", "/a/b"], ["/a/b/c"]),
        ("/:lang?/about", ["/about", "/vi/about"], ["/vi", "/a/b/about"]),
        (r"/a/:id(\d+)", ["/a/42"], ["/a/b"]),
        ("/a/:rest*", ["/a", "/a/b/c"], ["/b"]),
        ("/a/:rest+", ["/a/b/c"], ["/a"]),
        ("/a/$id", ["/a/b"], ["/a", "/a/b/c"]),
        ("/a/$", ["/a", "/a/b/c"], ["/b"]),
        ("/[[lang]]/about", ["/about", "/vi/about"], ["/vi", "/a/b/about"]),
        ("/a/[id=integer]", ["/a/42"], ["/a"]),
        ("/a/[[id=integer]]", ["/a", "/a/42"], ["/a/b/c"]),
        ("/a_(b)", ["/a_(b)", "/a_%28b%29"], ["/a_"]),
        ("/v1/items:batch", ["/v1/items:batch", "/v1/items%3Abatch"], ["/v1/items"]),
        ("/100%25", ["/100%25"], ["/100"]),
    ],
)
def test_parameters_as_frameworks_write_them(template: str, matching: list[str], others: list[str]) -> None:
    templates = Templates((template,))
    assert {path: templates.match(path) for path in matching} == dict.fromkeys(matching, template)
    assert {path: templates.match(path) for path in others} == dict.fromkeys(others)
    assert templates.match(template) == template


def test_the_closest_template_wins_in_whatever_order_they_stand() -> None:
    written = ("/a/[[...x]]", "/a/[...y]", "/a/[id]", "/a/<int:n>", "/a/new", "/a/[id]/b")
    for order in (written, written[::-1]):
        templates = Templates(order)
        paths = ("/a", "/a/1/2", "/a/x", "/a/7", "/a/new", "/a/7/b")
        assert [templates.match(path) for path in paths] == list(written)


@pytest.mark.parametrize(
    ("templates", "index", "says"),
    [
        (("/a/[id]", "/a/:name"), 1, "/a/[id]"),
        (("/a/<int:id>", "/b", "/a/{n:int}"), 2, "/a/<int:id>"),
        (("/a", "/a/"), 1, "/a"),
        ((CLASS, _NFD), 1, CLASS),
        (("/l%E1%BB%9Bp", "/l%e1%bb%9bp"), 1, "/l%E1%BB%9Bp"),
        (("/[[...x]]", "/", "/[...y]"), 0, "/"),
        (("/a/:x?", "/a", "/a/[x]"), 0, "/a"),
        (("/a%zz",), 0, "%25"),
        (("/a%",), 0, "%25"),
        (("/a/%FF",), 0, "UTF-8"),
        (("/a/%00",), 0, "control"),
        (("/a?x=1",), 0, "%3F"),
        (("/a#top",), 0, "%23"),
        (("/a//b",), 0, "empty"),
        (("//a",), 0, "empty"),
        (("https://app.example.com/a",), 0, "path"),
        (("/a/../b",), 0, ".."),
        (("/a/%2E",), 0, "%2E"),
        (("/a/[...x]/b",), 0, "last"),
        (("/a/*/b",), 0, "last"),
        (("/a/{x:path}/b",), 0, "last"),
        (("/a/[id].json",), 0, "[id].json"),
        (("/a/[id",), 0, "[id"),
        (("/a/[..slug]",), 0, "[..slug]"),
        (("/a/{id}-{name}",), 0, "{id}-{name}"),
        (("/a/{id:str}-{name}",), 0, "{id:str}-{name}"),
        (("/a/<int:id",), 0, "<int:id"),
        (("/a/*.js",), 0, "*.js"),
        (("/a/:",), 0, ":"),
        (("/(marketing)/about",), 0, "(marketing)"),
        (("/feed/(..)photo/[id]",), 0, "(..)photo"),
        (("/users(.:format)",), 0, "users(.:format)"),
        (("/a\\b",), 0, "%5C"),
        (("/" + "/".join([":x?"] * 30),), 0, "optional"),
    ],
)
def test_what_could_never_match_is_refused_with_the_reason(templates: tuple[str, ...], index: int, says: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Templates(templates)
    assert refused.value.index == index
    assert says in str(refused.value)


@pytest.mark.parametrize("list_", ["routes", "pages"])
def test_the_file_and_the_place_are_named(tmp_path: Path, list_: str) -> None:
    path = tmp_path / "exporter.yml"
    path.write_text(f"lists:\n  {list_}:\n  - /a\n  - /b?x\n", "utf-8")
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert f"exporter.yml:4: lists.{list_}[1]: " in str(refused.value)


_pieces = st.sampled_from(
    ["/", "a", "[", "]", "...", "id", ":", "{", "}", "<", ">", "int", "*", "?", "%", "%41", "é", "."]
)


@given(st.lists(st.lists(_pieces, min_size=1, max_size=8).map("".join), max_size=4), st.text(max_size=30))
def test_each_template_that_is_taken_can_be_matched(templates: list[str], path: str) -> None:
    try:
        taken = Templates(tuple(templates))
    except TemplateError as error:
        assert 0 <= error.index < len(templates)  # noqa: PT017  # either may happen
        return
    assert taken.match(path) in {None, *templates}
    assert [taken.match(template) for template in templates] == templates


@pytest.mark.parametrize(
    ("path", "template"),
    [
        *((path, "/lớp/[id]") for path in _SPELLINGS),
        ("/" + quote("ห้องเรียน") + "/7", "/ห้องเรียน/[id]"),
        ("/a%2Fb", None),
        ("/%E2%80%AEa", None),
        ("/%F0%9F%98%80", None),
        ("/%FF", None),
        ("/l%25E1%25BB%259Bp", None),
    ],
)
def test_a_guess_reads_words_of_any_script(path: str, template: str | None) -> None:
    assert guess(path) == template
    assert template is None or guess(template) == template
