"""Deadlines against the plainest thing that could be in their place: a dictionary that is looked through."""

from hypothesis import given
from hypothesis import strategies as st

from coldchain.registry.server.deadlines import Deadlines

NAMES, MOMENTS = st.sampled_from("abcd"), st.integers(0, 9).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, MOMENTS),
        st.tuples(st.just("drop"), NAMES, st.just(0.0)),
        st.tuples(st.just("take"), st.just(""), MOMENTS),
    )
)


@given(STEPS)
def test_what_was_set_last_counts(steps: list[tuple[str, str, float]]) -> None:
    deadlines: Deadlines[str] = Deadlines()
    plain: dict[str, float] = {}
    for verb, name, at in steps:
        if verb == "set":
            assert deadlines.set(name, at) == (at < plain.get(name, 99.0))
            plain[name] = at
        elif verb == "drop":
            deadlines.drop(name)
            plain.pop(name, None)
        else:
            due = [one for one in plain if plain[one] <= at]
            taken = deadlines.take(at)
            assert sorted(taken) == sorted(due)
            assert [plain[one] for one in taken] == sorted(plain[one] for one in due)
            for one in due:
                del plain[one]
        assert deadlines.next() == min(plain.values(), default=None)
        assert [one for one in "abcd" if one in deadlines] == sorted(plain)


def test_signs_of_life_do_not_pile_up() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for moment in range(1000):
        deadlines.set("a", float(moment))
    assert len(deadlines._queue) == 1
