"""When a call of Dubbo is tried again, and where."""

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.dubbo_call import Try, candidates, try_seconds
from coldchain.model.dubbo import Provider

PROVIDERS = [Provider(interface="a.B", host=f"10.0.0.{number}", port=20880) for number in range(4)]


@given(
    st.lists(st.sampled_from(PROVIDERS), unique_by=lambda one: one.address),
    st.booleans(),
    st.integers(0, 3),
    st.data(),
)
def test_a_call_ends_and_is_never_carried_out_more_often_than_it_may_be(
    providers: list[Provider], idempotent: bool, retries: int, data: st.DataObject
) -> None:
    tries: list[Try] = []
    while among := candidates(providers, tries, idempotent=idempotent, retries=retries):
        chosen = data.draw(st.sampled_from(among))
        assert chosen.address not in {one.address for one in tries if not one.heard}
        tries.append(Try(address=chosen.address, heard=data.draw(st.booleans())))
    heard = sum(one.heard for one in tries)
    assert heard <= (retries + 1 if idempotent else 1)
    if not heard:
        assert len(tries) == len(providers)  # nobody was left out before it was given up


def test_another_provider_comes_first_and_the_same_one_where_there_is_no_other() -> None:
    one, two = PROVIDERS[:2]
    tries = [Try(address=one.address, heard=True)]
    assert candidates([one, two], tries, idempotent=True) == [two]
    assert candidates([one], tries, idempotent=True) == [one]
    assert candidates([one, two], tries, idempotent=False) == ()


@given(st.floats(0.001, 100), st.integers(0, 5))
def test_tries_share_the_time_that_a_call_has(seconds: float, retries: int) -> None:
    assert try_seconds(seconds, [], idempotent=False, retries=retries) == seconds
    left, tries = seconds, list[Try]()
    for _ in range(retries + 1):
        took = try_seconds(left, tries, idempotent=True, retries=retries)
        assert took >= seconds / (retries + 1) * 0.999
        left -= took
        tries.append(Try(address="x", heard=True))
    assert abs(left) < 1e-6 * seconds + 1e-9
