"""Strategies of Hypothesis for values of Hessian 2."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from coldchain.clients.hessian2 import JavaObject, Key, TypedList, TypedMap

# A pair of lone surrogates is, in UTF-16, the character that they make; it comes back as that.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from("a鲜🥬").map(
    lambda one: one * 1030
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-300_000, 300_000) | st.floats()
DATES = st.integers(-(10**13), 10**14).map(
    lambda number: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT | st.binary(max_size=40) | DATES
NAMES = st.sampled_from(["A", "fresh.Box", "java.util.TreeMap", "[int", "类"])
ENUMS = st.builds(JavaObject, NAMES, st.fixed_dictionaries({"name": TEXT}))
KEYS = TEXT | st.integers(2, 100) | ENUMS.map(Key)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=9)
    entries = st.dictionaries(KEYS, inner, max_size=5)
    fields = st.dictionaries(st.sampled_from(["x", "y", "名"]), inner)
    return (
        items
        | entries
        | st.builds(TypedList, NAMES, items)
        | st.builds(TypedMap, NAMES, entries)
        | st.builds(JavaObject, NAMES, fields)
        | inner.map(lambda one: [one, one])
    )


VALUES = st.recursive(SCALARS, containers, max_leaves=12)
"""Any values, nested, with some that come twice."""
