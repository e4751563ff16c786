"""The page of the API: everything of the document, linked, without scripts and without anything from elsewhere."""

import re

from coldchain.documents.openapi.document import OPERATIONS
from coldchain.documents.openapi.page import page
from coldchain.testing.openapi import whole


def test_it_has_everything_and_every_link_leads_somewhere() -> None:
    text = page(whole())
    anchors = re.findall(r' id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    wanted = {operation.id for operation in OPERATIONS} | {
        f"schema-{name}" for name in whole()["components"]["schemas"]
    }
    assert set(anchors) == wanted
    links = set(re.findall(r'href="([^"]+)"', text))
    assert links == {f"#{name}" for name in wanted} | {"/openapi.json"}


def test_it_needs_no_script_and_nothing_from_elsewhere() -> None:
    text = page(whole())
    assert not re.search(r"<script|<link|<img|src=|@import|url\(|\son\w+=", text)
    assert "://" not in re.sub(r"<td>.*?</td>|zk://HOST", "", text)


def test_what_it_shows_cannot_be_taken_for_its_own() -> None:
    document = whole() | {"info": {"title": "<b>", "version": '"&', "description": "a `<i>` b"}}
    text = page(document)
    assert "<h1>&lt;b&gt; &quot;&amp;</h1>" in text
    assert "a <code>&lt;i&gt;</code> b" in text


def test_ranges_and_defaults_are_told() -> None:
    text = page(whole())
    start = text.index('<section id="schema-AppRequest">')
    section = text[start : text.index("</section>", start)]
    assert "<code>instances</code></td><td>integer or null</td>" in section
    assert "0 to 10,000, default <code>1</code>" in section
    assert 'array of <a href="#schema-RouteRequest">RouteRequest</a> or null' in section
