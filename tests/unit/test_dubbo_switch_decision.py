"""What is told to ZooKeeper of our providers, from any mix: enough, nothing too much, and the same after any crash."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.dubbo_switch import Steps, as_whole, calls, expected, lingers, places, steps, waits_for
from coldchain.dubbo.connections import open_connections
from coldchain.model.dubbo import Announced, Announcement, Export, Process, Provided
from coldchain.model.instance import Instance, Phase

EXPORTS = [Export(interface="a.B"), Export(interface="a.B", group="g"), Export(interface="a.C", version="1")]
LEAVING = ("draining", "closing", "stopping")


def instance(number: int, phase: Phase, **fields: object) -> Instance:
    given = Instance(
        id=f"i{number}",
        app_id="/shop",
        version_id="v",
        target="cluster",
        task_id=f"t{number}",
        phase=phase,
        since=0.0,
        created_at=0.0,
        agent="agent",
        address=f"10.0.0.{number}",
        ports=(20880,),
    )
    return msgspec.structs.replace(given, **fields)


announcements = st.builds(
    Announcement,
    export=st.sampled_from(EXPORTS),
    host=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.9.9"]),
    port=st.sampled_from([20880, 20881]),
    started=st.sampled_from(["", "1", "2"]),
    process=st.sampled_from(["", "basket"]),
)
scenes = st.tuples(
    st.lists(st.sampled_from(get_args(Phase)), min_size=0, max_size=3),
    st.sets(announcements, max_size=8),
    st.sets(announcements.filter(lambda one: not one.process), max_size=8),
)


def apply(announced: Announced, told: Steps, count: int | None = None) -> Announced:
    off, providers = set(announced.switched_off), set(announced.providers)
    words = [(off.add, one) for one in told.switch_off]
    words += [(providers.discard, one) for one in told.withdraw]
    words += [(off.discard, one) for one in told.switch_on]
    for word, one in words[:count]:
        word(one)
    return Announced(providers=tuple(providers), switched_off=tuple(off))


@given(scenes, st.data())
def test_what_is_told_is_enough_and_no_more_wherever_it_was_cut_off(
    scene: tuple[list[Phase], set[Announcement], set[Announcement]], data: st.DataObject
) -> None:
    phases, providers, off = scene
    instances = [instance(number, phase) for number, phase in enumerate(phases, start=1)]
    before = Announced(providers=tuple(providers), switched_off=tuple(off))
    told = steps(instances, before)
    after = apply(before, told)
    cut = apply(before, told, data.draw(st.integers(0, 30)))
    assert steps(instances, after) == Steps()
    assert set(apply(cut, steps(instances, cut)).switched_off) == set(after.switched_off)
    leaving = {place for one in instances if one.phase in LEAVING for place in places(one)}
    stopped = {place for one in instances if one.phase == "stopped" for place in places(one)}
    staying = {place for one in instances if one.wanted for place in places(one)}
    assert all(one in after.switched_off for one in providers if one.place in leaving and not one.process)
    assert not any(one.process for one in after.switched_off)
    assert set(after.providers) == {one for one in providers if one.place not in leaving | stopped}
    assert set(apply(cut, steps(instances, cut)).providers) == set(after.providers)
    withdrawn = providers - set(cut.providers)
    assert all(one in cut.switched_off or one.process or one.place in stopped for one in withdrawn)
    assert not any(one.place in leaving for one in told.switch_on)
    assert all(one.place in staying | stopped or one not in providers for one in told.switch_on)
    assert not any(one.place in staying for one in after.switched_off)
    for one in after.switched_off:
        assert one.place in leaving or one in providers
    assert all(one.place in leaving for one in told.switch_off)
    assert all(one.place in leaving | stopped for one in told.withdraw)
    for one in instances:
        if one.phase in LEAVING:
            assert waits_for(one, (), after) == ""


def test_who_has_connected_anew_and_stopped_is_withdrawn_until_somebody_comes_to_his_place() -> None:
    dead = Announcement(export=EXPORTS[0], host="10.0.0.1", port=20880, started="1")
    known = Announced(providers=(dead,), switched_off=())
    gone = instance(1, "stopped")
    assert steps([gone], known) == Steps(withdraw=(dead,))
    assert steps([msgspec.structs.replace(gone, host_ports=(20880,))], known) == Steps()
    known = msgspec.structs.replace(known, switched_off=(dead,))
    assert steps([gone], known) == Steps(withdraw=(dead,), switch_on=(dead,))
    assert steps([gone, instance(2, "starting", address="10.0.0.1")], known) == Steps(switch_on=(dead,))


def test_what_a_process_announces_is_in_its_metadata_or_else_its_application() -> None:
    ports = {"dubbo": 20880, "tri": 50051}
    process = Process(application="basket", host="10.0.0.1", ports=ports, revision="r1")

    def of(export: Export, port: int) -> Announcement:
        return Announcement(export=export, host="10.0.0.1", port=port, process="basket")

    provided = [
        Provided(interface="a.B", parameters={"group": "g", "version": "1"}),
        Provided(interface="a.B", protocol="tri", parameters={"group": "g", "version": "1"}),
        Provided(interface="a.C", port=20881),
        Provided(interface="a.D", protocol="rest"),
    ]
    known = Export(interface="a.B", group="g", version="1")
    assert as_whole(process, provided) == (of(known, 20880), of(Export(interface="a.C"), 20881), of(known, 50051))
    assert as_whole(process, ()) == ()
    assert as_whole(process, None) == tuple(of(Export(interface="basket"), port) for port in (20880, 50051))


def test_an_instance_is_known_by_its_own_address_and_by_what_its_agent_publishes() -> None:
    own = instance(1, "serving", ports=(20880,))
    assert places(own) == {("10.0.0.1", 20880)}
    published = instance(1, "serving", ports=(20880,), host_ports=(31000, 0))
    assert places(published) == {("10.0.0.1", 20880), ("10.0.0.1", 31000), ("agent", 31000)}
    assert places(instance(1, "scheduled", address=None, agent=None)) == frozenset()


def announced(*names: tuple[int, Export], off: tuple[tuple[int, Export], ...] = ()) -> Announced:
    def each(found: tuple[tuple[int, Export], ...]) -> tuple[Announcement, ...]:
        return tuple(Announcement(export=export, host=f"10.0.0.{number}", port=20880) for number, export in found)

    return Announced(providers=each(names), switched_off=each(off))


@pytest.mark.parametrize(
    ("phase", "asked", "known", "words"),
    [
        ("entering", (), announced(), "it has not announced any interface in ZooKeeper"),
        ("entering", (), announced((1, EXPORTS[0])), ""),
        ("entering", EXPORTS[:2], announced((1, EXPORTS[0])), "it has not announced g/a.B in ZooKeeper"),
        (
            "entering",
            EXPORTS[:2],
            announced((1, EXPORTS[0]), (2, EXPORTS[1])),
            "it has not announced g/a.B in ZooKeeper",
        ),
        ("serving", EXPORTS, announced(*((1, one) for one in EXPORTS)), ""),
        (
            "entering",
            (),
            announced((1, EXPORTS[2]), off=((1, EXPORTS[2]),)),
            "it is still switched off in ZooKeeper for a.C:1",
        ),
        ("draining", (), announced(), ""),
        (
            "draining",
            (),
            announced((1, EXPORTS[0]), (1, EXPORTS[2]), off=((1, EXPORTS[0]),)),
            "ZooKeeper still sends consumers there for a.B, a.C:1",
        ),
    ],
)
def test_what_an_instance_waits_for(phase: Phase, asked: list[Export], known: Announced, words: str) -> None:
    assert waits_for(instance(1, phase), asked, known) == words


def test_what_there_has_to_be_is_named_or_served_or_remembered() -> None:
    known = announced((1, EXPORTS[0]), (2, EXPORTS[1]), (3, EXPORTS[2]))
    others = [instance(1, "serving"), instance(2, "draining"), instance(3, "serving")]
    assert expected((), [EXPORTS[1]], others, known) == {EXPORTS[0], EXPORTS[2]}
    assert expected((), [EXPORTS[1]], others[1:2], known) == {EXPORTS[1]}
    assert expected([EXPORTS[1]], (), others, known) == {EXPORTS[1]}


def test_who_follows_one_that_is_announced_as_a_whole_has_to_be_so_too() -> None:
    one_by_one = announced((1, EXPORTS[0]), (2, EXPORTS[0]))
    whole = Announcement(export=EXPORTS[0], host="10.0.0.1", port=20880, process="basket")
    known = Announced(providers=(*one_by_one.providers, whole))
    asked = expected((), (), [instance(1, "serving")], known)
    assert asked == {EXPORTS[0], Export(interface="basket")}
    assert waits_for(instance(2, "entering"), asked, known) == "it has not announced basket in ZooKeeper"
    assert waits_for(instance(1, "serving"), asked, known) == ""
    # On purpose: the definition says what there has to be.
    assert expected([EXPORTS[0]], (), [instance(1, "serving")], known) == {EXPORTS[0]}


def test_who_has_stopped_lingers_while_anything_of_him_is_there() -> None:
    one = instance(1, "stopped")
    assert lingers(one, announced((1, EXPORTS[0])))
    assert lingers(one, announced(off=((1, EXPORTS[0]),)))
    assert not lingers(one, announced((2, EXPORTS[0])))


@pytest.mark.parametrize(
    ("seen", "count"),
    [({}, None), ({("h", 1): 0}, 0), ({("h", 1): 0, ("h", 2): None}, None), ({("h", 1): 2}, None)],
)
def test_nobody_has_calls_whose_every_port_has_no_connection(
    seen: dict[tuple[str, int], int | None], count: int | None
) -> None:
    assert calls(seen) == count


def test_connections_are_counted_as_the_kernel_shows_them(tmp_path: Path) -> None:
    title = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   {}: {}:{:04X} 0100007F:9C40 {} 00000000:00000000 00:00000000 00000000     0        0 12345 1\n"
    address, long = "0100007F", "0" * 32
    (tmp_path / "tcp").write_text(
        title
        + row.format(0, address, 20880, "0A")
        + row.format(1, address, 20880, "01")
        + row.format(2, address, 20880, "06")
        + row.format(3, address, 20881, "01")
        + row.format(4, address, 40000, "0A")
    )
    (tmp_path / "tcp6").write_text(title + row.format(0, long, 20880, "01") + row.format(1, long, 20882, "0A"))
    assert [open_connections(port, tmp_path) for port in (20880, 20881, 40000, 20882)] == [2, None, 0, 0]
    (tmp_path / "tcp6").unlink()
    assert open_connections(20880, tmp_path) == 1
