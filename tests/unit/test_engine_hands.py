"""Hands on a running testbed: the same faults as a plan's, in the same record, undone by one or all at once."""

from __future__ import annotations

import asyncio
import gc
import json
import stat
from collections.abc import Awaitable, Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runtime import SECOND, FakeRuntime, small_plan
from opus_controller.engine import needs
from opus_controller.engine.console import Console, ask
from opus_controller.engine.faults import Faults
from opus_controller.engine.hands import Hands
from opus_controller.engine.ledger import Ledger
from opus_controller.engine.play import play
from opus_controller.engine.record import RecordReader, RunRecord
from opus_controller.engine.runtime import LiveHost, Record, RunInfo
from opus_controller.model.errors import PlatformError, ScenarioError
from opus_controller.model.network import Network
from opus_controller.model.plan import App, Heal, LinkChange, Partition, Plan, Service, Strain, Target
from opus_controller.model.shapes import BurstLoss, HostChange, PathShape, ShapeChange

pytestmark = pytest.mark.clock
CUT = Partition(
    kind="partition", at_ns=2 * SECOND, name="planned", a=Target(text="site a", hosts=("a-1", "a-2")), b=Target(text="")
)


class Bed:
    """A testbed whose time stands still unless it is told to go on."""

    def __init__(self, plan: Plan | None = None, **hosts: LiveHost) -> None:
        self.plan = plan or small_plan()
        live = {host.name: LiveHost(host.name, alive=True) for host in self.plan.hosts}
        self.runtime = FakeRuntime(hosts={**live, **{host.name: host for host in hosts.values()}})
        self.faults = Faults(self.plan, self.runtime)
        self.records: list[Record] = []
        self.hands = Hands(self.plan, self.runtime, self.faults, self._record)

    def _record(self, records: Sequence[Record]) -> None:
        self.records.extend(records)

    async def strike(self, **event: Any) -> Record:
        asked = {key.rstrip("_").replace("power_off", "power-off"): value for key, value in event.items()}
        (head,) = (await self.hands.answer({"do": "strike", "event": asked}))["struck"]
        return dict(head)

    async def clear(self, *names: str) -> list[str]:
        return [head["undoes"] for head in (await self.hands.answer({"do": "clear", "names": list(names)}))["struck"]]

    async def in_force(self) -> list[str]:
        return [one["name"] for one in (await self.hands.answer({"do": "list"}))["in_force"]]


def on(bed: Bed, what: Callable[[Bed], Awaitable[None]]) -> None:
    asyncio.run(what(bed))  # type: ignore[arg-type]


def test_a_hand_strikes_as_a_plan_does() -> None:
    bed = Bed(replica=LiveHost("b-2", alive=True, replica_of=("web",)))

    async def strike(bed: Bed) -> None:
        bed.runtime.t = 83 * SECOND
        head = await bed.strike(power_off="a replica of web")
        assert head["victims"] == ["b-2"]

    on(bed, strike)
    assert bed.runtime.did("power_off") == [(83.0, ("b-2",))]
    head, down = bed.records
    assert (head["kind"], head["fault"], head["name"], head["by"]) == ("fault", "power-off", "power-off-83s", "hand")
    assert down == {"t": 83 * SECOND, "host": "b-2", "kind": "host_down", "cause": "power-off"}


def test_what_overlaps_is_undone_in_any_order_and_ends_in_nothing() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        await bed.strike(partition="site a", name="cut")
        await bed.strike(link="b <-> c", add={"rtt": "20ms"}, name="slow")
        await bed.strike(pause="b-1", name="nap")
        await bed.strike(crash="b-1, c-1", name="loss")
        assert await bed.in_force() == ["cut", "slow", "nap", "loss"]
        assert await bed.clear("loss") == ["loss"]
        assert bed.runtime.did("pause")[-1] == (0.0, ("b-1",))  # it is still to be paused, once it runs again
        await bed.strike(heal="cut")
        assert bed.faults.ledger.network.overrides["b", "c"] == PathShape(delay_ns=20_000_000)
        assert await bed.clear() == ["nap", "slow"]  # all that is left, the youngest of its kind first
        assert await bed.in_force() == []

    on(bed, strike)
    assert bed.runtime.networks[-1] == Network.of(bed.plan)
    assert bed.faults.dead == bed.faults.paused == set()


def test_loss_and_bursts_on_one_path_are_healed_in_any_order() -> None:
    """Laid as a, b, c on the same path, and taken away in each of the six orders: what is left is what the rest asks for."""
    burst = BurstLoss(p=0.02, r=0.25, loss_bad=0.8, loss_good=0.1)
    beside = BurstLoss(p=0.02, r=0.25, loss_bad=1 - 0.2 * 0.5, loss_good=1 - 0.9 * 0.5)
    left: dict[str, dict[str, Any]] = {
        "abc": {"burst": beside},
        "ab": {"burst": burst},
        "ac": {"loss": 0.75},
        "bc": {"burst": beside},
        "a": {"loss": 0.25},
        "b": {"burst": burst},
        "c": {"loss": 0.5},
        "": {},
    }

    async def strike(bed: Bed) -> None:
        for order in permutations("abc"):
            await bed.strike(link="a <-> b", set={"loss": "25%"}, name="a" + "".join(order))
            chain = {"p": "2%", "r": "25%", "loss_bad": "80%", "loss_good": "10%"}
            await bed.strike(link="a <-> b", set={"burst": chain}, name="b" + "".join(order))
            await bed.strike(link="a <-> b", add={"loss": "50%"}, name="c" + "".join(order))
            there = "abc"
            for gone in ("", *order):
                await (bed.strike(heal=gone + "".join(order)) if gone else asyncio.sleep(0))
                there = there.replace(gone, "") if gone else there
                shape = bed.faults.ledger.shape("a", "b")
                wanted = PathShape(delay_ns=10_000_000, **left[there])
                assert shape.loss == pytest.approx(wanted.loss)
                assert (shape.burst is None) == (wanted.burst is None)
                if shape.burst is not None and wanted.burst is not None:
                    assert shape.burst.model_dump() == pytest.approx(wanted.burst.model_dump())
            assert bed.runtime.networks[-1] == Network.of(bed.plan)

    on(Bed(), strike)


def test_for_undoes_it_after_that_time() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        await bed.strike(crash="a-2", for_="5s", name="short")
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after short"]
        await later
        assert await bed.in_force() == []

    on(bed, strike)
    assert bed.runtime.did("restart") == [(5.0, ("a-2",))]
    assert [record["undoes"] for record in bed.records if record["kind"] == "fault"] == ["", "short"]


def test_what_has_been_undone_is_not_undone_again_later() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        held = asyncio.Event()

        async def sleep_until(t_ns: int) -> None:
            await held.wait()

        bed.runtime.sleep_until = sleep_until  # type: ignore[method-assign]
        await bed.strike(partition="site a", for_="5s", name="cut")
        await bed.strike(heal="cut")
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after cut"]
        held.set()
        await later

    on(bed, strike)
    assert [record["fault"] for record in bed.records] == ["partition", "heal"]


def test_what_flaps_comes_and_goes_on_the_same_hosts_until_its_end() -> None:
    bed = Bed(small_plan())

    async def strike(bed: Bed) -> None:
        await bed.strike(partition="1 of site a", name="loose", for_="5s", flap="2s")
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after loose"]
        await later
        assert await bed.in_force() == []

    on(bed, strike)
    told = [(record["t"] / SECOND, record["fault"], record["name"]) for record in bed.records]
    assert told == [
        (0, "partition", "loose"),
        (1, "heal", "heal-loose-1"),
        (2, "partition", "loose-2"),
        (3, "heal", "heal-loose-2"),
        (4, "partition", "loose-3"),
        (5, "heal", "heal-loose"),
    ]
    cut_off = {tuple(record["victims"]) for record in bed.records if record["fault"] == "partition"}
    assert len(cut_off) == 1


def test_clearing_what_flaps_ends_it() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        held = asyncio.Event()

        async def sleep_until(t_ns: int) -> None:
            await held.wait()

        bed.runtime.sleep_until = sleep_until  # type: ignore[method-assign]
        await bed.strike(link="a <-> b", add={"rtt": "20ms"}, name="loose", for_="50s", flap="2s")
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after loose"]
        assert await bed.clear() == ["loose"]
        held.set()
        await asyncio.wait([later])
        assert await bed.in_force() == []

    on(bed, strike)
    assert [record["fault"] for record in bed.records] == ["link", "heal"]


def test_a_hand_may_heal_what_the_plan_would_have_healed(tmp_path: Path) -> None:
    bed = Bed(small_plan(CUT, Heal(kind="heal", at_ns=4 * SECOND, name="over", undoes="planned")))

    async def strike(bed: Bed) -> None:
        planned, healing = bed.plan.timeline
        await bed.faults.strike(planned)
        assert await bed.clear() == []  # it is not the hands' own
        assert await bed.clear("planned") == ["planned"]
        (record,) = await bed.faults.strike(healing)
        assert record["undoes"] == "planned"

    on(bed, strike)
    assert bed.runtime.networks[-1] == Network.of(bed.plan)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({}, "does nothing; allowed: exactly one of"),
        ({"crash": "a-9"}, '"a-9"'),
        ({"crash": "site nowhere"}, 'there is no site "nowhere"'),
        ({"crash": "a replica of web"}, "nobody is a replica of web now"),
        ({"crash": "a replica of mail"}, 'there is no application "mail"'),
        ({"crash": "c-1"}, "c-1 is down already"),
        ({"restart": "a-1"}, "a-1 is not down"),
        ({"restart": "a replica of web"}, "needs known hosts"),
        ({"restart": "same as never"}, 'there has been no crash or power-off or leave "never"'),
        ({"crash": "a-1", "state": "lost"}, "state belongs to a restart, not to"),
        ({"restart": "c-1", "state": "new"}, '"new"'),
        ({"resume": "same as loss"}, 'there has been no pause "loss"'),
        ({"partition": "all"}, "all hosts are on one side"),
        ({"partition": "a-1", "from": "site a"}, "a-1 is on both sides"),
        ({"link": "a <-> x", "add": {"rtt": "1ms"}}, 'there is no site "x"'),
        ({"link": "a <-> b", "add": {"rtt": "fast"}}, '"fast"'),
        ({"link": "a <-> b"}, "changes nothing"),
        ({"heal": "loss"}, '"loss" is not in force'),
        ({"pause": "a-1", "name": "loss"}, 'there is an event "loss"'),
        ({"pause": "a-1", "name": "planned"}, 'there is an event "planned"'),
        ({"pause": "a-1", "for": "soon"}, '"soon"'),
        ({"crash": "a-1", "for": "5s", "flap": "1s"}, "flap needs an end"),
        ({"pause": "a-1", "flap": "1s"}, "flap needs an end"),
        ({"pause": "a-1", "for": "5h", "flap": "1ms"}, "allowed: a longer period"),
        ({"strain": "a-1"}, "a strain that takes nothing"),
        ({"strain": "a-1", "cpu": "0%"}, "nothing left is a pause"),
        ({"strain": "a-1", "memory": "1MB"}, "does not live on less than 64MiB"),
        ({"strain": "a-1", "clock": "2h"}, "at most an hour ahead or behind"),
        ({"strain": "a-1", "drift": "-11%"}, "at most 10% too fast or too slow"),
        ({"crash": "a-1", "cpu": "5%"}, "cpu belongs to a strain"),
        ({"flood": "a-1", "rate": "5/s"}, "a flood without rate or end"),
        ({"flood": "a-1", "rate": "5000/s", "for": "5s"}, "at most 1000/s"),
        ({"flood": "a-1", "rate": "5/s", "for": "2h"}, "a flood ends; allowed: at most 10m"),
        ({"flood": "a-1", "rate": "5/s", "for": "2s", "app": "mail"}, 'there is no application "mail"'),
        ({"melt": "a-1"}, "melt"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(event: dict[str, Any], words: str) -> None:
    bed = Bed(small_plan(CUT))

    async def strike(bed: Bed) -> None:
        await bed.strike(crash="c-1", name="loss")
        before = bed.faults.plain()["ledger"]
        with pytest.raises(ScenarioError) as caught:
            await bed.hands.answer({"do": "strike", "event": event})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert bed.faults.plain()["ledger"] == before

    on(bed, strike)


def test_a_flood_comes_from_a_few_hosts_beside_its_target_and_ends() -> None:
    agent = LiveHost("a-1", alive=True, is_agent=True, routed=9, nodes=3)
    one, other = (LiveHost(name, alive=True, agent="a-1") for name in ("b-2", "c-1"))
    bed = Bed(agent=agent, dead=LiveHost("a-2", alive=False, agent="a-1"), one=one, other=other)

    async def strike(bed: Bed) -> None:
        head = await bed.strike(flood="the busiest agent", rate="90/s", for_="10s", name="dos")
        assert head["victims"] == ["a-1"]
        assert head["sources"] == ["b-2", "c-1", "b-1", "c-2"]
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after dos"]
        await later

    on(bed, strike)
    (_, started), (_, ended) = bed.runtime.did("flood")
    assert sum(load.rate_per_s for load in started) == 90
    assert {(load.app, load.stop_ns) for load in started} == {("web", 10 * SECOND)}
    assert ended == ()


CHURN = {"hosts": "all", "sessions": {"distribution": "exponential", "mean": "60s"}, "downtimes": "20s", "name": "tide"}


def test_hosts_come_and_go_by_hand_and_are_all_there_in_the_end() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        (head,) = (await bed.hands.answer({"do": "churn", "churn": {**CHURN, "for": "20m"}}))["struck"]
        assert head["victims"] == ["a-2", "b-1", "b-2", "c-1", "c-2"], "the seed stays"
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "churn tide"]
        await task
        assert await bed.in_force() == []

    on(bed, strike)
    moves = [record for record in bed.records if record["kind"] == "churn"]
    assert all(record["t"] == record["due_t"] for record in moves)
    away = sum(record["change"] != "return" for record in moves)
    assert 50 < away < 110, "1200 s for each of five hosts, in turns of 80 s: 75 expected, a few more or less"
    assert bed.faults.dead == set()
    assert bed.runtime.t == 1200 * SECOND
    assert bed.records[-1]["kind"] in ("host_up", "fault")


def test_churn_that_is_cleared_ends_and_brings_everybody_back() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        held = asyncio.Event()
        far = bed.runtime.sleep_until

        async def sleep_until(t_ns: int) -> None:
            if bed.faults.dead:
                held.set()
                await asyncio.Event().wait()
            await far(t_ns)

        bed.runtime.sleep_until = sleep_until  # type: ignore[method-assign]
        await bed.hands.answer({"do": "churn", "churn": {**CHURN, "departures": "power-off"}})
        await held.wait()
        assert await bed.in_force() == ["tide"]
        assert bed.faults.dead
        assert await bed.clear() == ["tide"]
        assert await bed.in_force() == []
        assert bed.faults.dead == set()

    on(bed, strike)
    assert bed.runtime.networks[-1] == Network.of(bed.plan)


@pytest.mark.parametrize(
    ("churn", "words"),
    [
        ({"hosts": "all"}, "nobody comes or goes"),
        ({**CHURN, "downtimes": "soon"}, "downtimes"),
        ({**CHURN, "hosts": "a-1"}, "are seeds, which stay"),
        ({**CHURN, "hosts": "a replica of web"}, "needs known hosts"),
        ({**CHURN, "name": "planned"}, "there is an event"),
        ({**CHURN, "for": "soon"}, '"soon"'),
    ],
)
def test_churn_that_makes_no_sense_is_one_line(churn: dict[str, Any], words: str) -> None:
    bed = Bed(small_plan(CUT))

    async def strike(bed: Bed) -> None:
        with pytest.raises(ScenarioError) as caught:
            await bed.hands.answer({"do": "churn", "churn": churn})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert await bed.in_force() == []

    on(bed, strike)


def test_a_runtime_that_cannot_bring_it_about_says_so_before_it_is_tried() -> None:
    bed = Bed()
    bed.runtime.info = RunInfo("sim", "model")

    async def strike(bed: Bed) -> None:
        with pytest.raises(ScenarioError, match="simulated hosts have no memory"):
            await bed.strike(strain="a-1", memory="80MiB")
        await bed.strike(strain="a-1", cpu="50%", up="1Mbit")
        bed.runtime.info = RunInfo("netns", "netem")
        await bed.strike(strain="a-1", up="1Mbit")
        await bed.strike(strain="a-1", cpu="50%", memory="80MiB")
        await bed.strike(strain="b-1", clock="-3s", drift="1%")

    on(bed, strike)
    assert bed.faults.ledger.strains["b-1"] == HostChange(clock_ns=-3_000_000_000, drift_ppm=10_000)
    assert [strains["a-1"].cpu for _, strains in bed.runtime.did("strain")] == [0.5, 0.25, 0.25]


def test_a_clock_that_a_program_would_not_see_is_refused_where_programs_run() -> None:
    times = dict.fromkeys(
        ("health_every_ns", "health_timeout_ns", "start_ns", "deadline_ns", "model_start_ns", "model_answer_ns"), 1
    )
    told = {
        "command": ["serve"],
        "port": 80,
        "protocol": "tcp",
        "health_path": "",
        "health_failures": 1,
        "request": "",
        "gateway": 81,
    }
    program = Service.model_validate({**told, **times})
    apps = (App(name="page", replicas=1, service=program),)
    skew = Strain(kind="strain", at_ns=0, name="off", target=Target(text="a-1", hosts=("a-1",)), change=HostChange(clock_ns=1))
    for runtime in ("netns", "docker"):
        with pytest.raises(ScenarioError, match=r"^strain 'off': the program of page reads this machine's clock"):
            needs.check([skew], RunInfo(runtime, "netem"), apps)
    needs.check([skew], RunInfo("sim", "model"), apps)
    needs.check([skew], RunInfo("docker", "netem"), ())


@pytest.mark.parametrize(
    ("change", "runtime", "words"),
    [
        (HostChange(disk=0), "docker", "containers share the engine's disk"),
        (HostChange(write_bps=8_000), "netns", "cannot be slow; allowed with --runtime sim"),
        (HostChange(disk=0), "sim", "nothing is written here: no application has files"),
    ],
)
def test_disks_are_refused_where_there_are_none_to_fill_or_to_slow(change: HostChange, runtime: str, words: str) -> None:
    full = Strain(kind="strain", at_ns=0, name="full", target=Target(text="a-1", hosts=("a-1",)), change=change)
    with pytest.raises(ScenarioError, match=words):
        needs.check([full], RunInfo(runtime, "netem"), small_plan().apps)


def test_a_disk_is_refused_by_hand_where_hosts_have_none_of_their_own() -> None:
    bed = Bed()
    bed.runtime.info = RunInfo("netns", "netem", {"disks": False})

    async def strike(bed: Bed) -> None:
        with pytest.raises(ScenarioError, match="started without disks of their own; a scenario that has `disk` in its timeline"):
            await bed.strike(strain="a-1", disk="full")

    on(bed, strike)


def test_what_is_in_force_outlives_the_controller() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        await bed.strike(power_off="a-1, b-2", name="loss")
        await bed.strike(partition="site a", name="cut")
        await bed.strike(link="b -> c", add={"delay": "20ms"}, name="slow")

    on(bed, strike)
    kept = json.loads(json.dumps(bed.faults.plain()))
    later = Faults(bed.plan, bed.runtime, kept=kept)
    assert later.dead == {"a-1", "b-2"}
    assert later.ledger.network == bed.faults.ledger.network
    assert later.ledger.in_force == ("cut", "slow", "loss")
    assert later.plain() == bed.faults.plain()


def test_faults_lie_over_what_hands_have_set_of_sites_and_of_hosts() -> None:
    plan = small_plan()
    network = Network.of(plan)
    set_ = Network(
        network.hosts,
        network.sites,
        network.paths,
        overrides={("a", "b"): PathShape(delay_ns=7)},
        host_overrides={("a-1", "b-1"): PathShape(delay_ns=9), ("a-1", "c-1"): PathShape(delay_ns=8)},
    )
    bed = Bed(plan)
    bed.faults.ledger = Ledger(plan, set_)

    async def strike(bed: Bed) -> None:
        await bed.strike(link="a -> b", add={"delay": "1us"}, name="slow")
        one, other, third = plan.hosts[0], plan.hosts[2], plan.hosts[4]
        assert bed.faults.ledger.network.path(one, other).delay_ns == 1009
        assert bed.faults.ledger.network.path(plan.hosts[1], other).delay_ns == 1007
        assert bed.faults.ledger.network.path(one, third).delay_ns == 8
        await bed.clear()
        assert bed.faults.ledger.network == set_

    on(bed, strike)


class Reached(FakeRuntime):
    """One that hands can reach: at its third second it waits until a hand has been there."""

    def __init__(self, console: Path) -> None:
        super().__init__()
        self.console = console
        self.answers: list[Any] = []
        self.questions: list[dict[str, Any]] = []

    async def sleep_until(self, t_ns: int) -> None:
        await super().sleep_until(t_ns)
        if self.t >= 3 * SECOND and self.questions:
            questions, self.questions = self.questions, []
            for question in questions:
                try:
                    self.answers.append(await asyncio.to_thread(ask, self.console, question, 10.0))
                except (ScenarioError, PlatformError) as error:
                    self.answers.append(error)


def test_a_run_in_progress_hears_hands_over_its_socket_and_keeps_what_they_did(tmp_path: Path) -> None:
    runtime = Reached(tmp_path / "console.sock")
    runtime.questions = [
        {"do": "strike", "event": {"crash": "b-1", "name": "mine"}},
        {"do": "strike", "event": {"crash": "nobody-9"}},
        {"do": "list"},
        {"do": "dance"},
    ]
    plan = small_plan(
        LinkChange(kind="link", at_ns=SECOND, name="slow", source="a", target="b", change=ShapeChange(add_delay_ns=5))
    )
    record = RunRecord.create(tmp_path / "runs", plan)
    outcome = asyncio.run(play(plan, runtime, record))
    record.close()
    assert outcome.ended == "done", outcome.error
    struck, unknown, listed, silly = runtime.answers
    assert struck["struck"][0]["victims"] == ["b-1"]
    assert isinstance(unknown, ScenarioError)
    assert [(one["name"], one["by"]) for one in listed["in_force"]] == [("slow", "plan"), ("mine", "hand")]
    assert "allowed: strike, churn, clear, list" in str(silly)
    events = [event for event in RecordReader(tmp_path / "runs" / "latest").events() if event["kind"] == "fault"]
    assert [(event["name"], event.get("by", "plan")) for event in events][:2] == [("slow", "plan"), ("mine", "hand")]
    assert not runtime.console.exists()
    with pytest.raises(ConnectionError):
        ask(runtime.console, {"do": "list"}, 1.0)


def test_the_socket_is_for_its_owner_alone_and_survives_strangers(tmp_path: Path) -> None:
    async def talk() -> None:
        async def answer(question: Any) -> dict[str, Any]:
            if question.get("do") == "fail":
                raise ZeroDivisionError("planted")
            return {"heard": question}

        console = Console(tmp_path / "console.sock", answer)
        await console.open()
        assert stat.S_IMODE((tmp_path / "console.sock").stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "console.sock"))
        said = []
        for line in (b"not json", b"[1]", b'{"do": "fail"}', b'{"a": 1}'):
            writer.write(line + b"\n")
            said.append(json.loads(await reader.readline()))
        writer.close()
        await console.close()
        assert [(one["ok"], one.get("exit_code")) for one in said] == [(False, 2), (False, 2), (False, 70), (True, None)]
        assert said[3]["heard"] == {"a": 1}

    asyncio.run(talk())


def test_what_the_machine_refuses_is_told_recorded_and_not_in_force() -> None:
    bed = Bed()
    bed.runtime.fail_at, bed.runtime.failure = "strain", PlatformError("a-1 cannot be limited: no")

    async def strike(bed: Bed) -> None:
        with pytest.raises(PlatformError, match=r"strain 'weak' failed \(a-1 .* no\), and could not be taken back: a-1"):
            await bed.strike(strain="a-1", cpu="50%", name="weak")
        assert await bed.in_force() == []
        bed.runtime.fail_at = ""
        await bed.strike(strain="a-1", cpu="50%", name="weak")
        assert await bed.in_force() == ["weak"]

    on(bed, strike)
    refused, struck = bed.records
    assert (refused["kind"], refused["name"], refused["fault"], refused["by"]) == ("refused", "weak", "strain", "hand")
    assert "a-1 cannot be limited: no" in refused["why"]
    assert struck["kind"] == "fault"


def test_what_the_machine_does_not_undo_stays_in_force_and_can_be_cleared_again() -> None:
    bed = Bed()

    async def strike(bed: Bed) -> None:
        await bed.strike(link="a <-> b", set={"rtt": "20ms"}, name="near")
        await bed.strike(link="a <-> b", set={"rtt": "90ms"}, name="far")
        bed.runtime.fail_at, bed.runtime.failure = "apply_links", PlatformError("no")
        with pytest.raises(PlatformError, match="no"):
            await bed.clear("near")
        bed.runtime.fail_at = ""
        assert await bed.in_force() == ["near", "far"]
        assert bed.faults.ledger.shape("a", "b").delay_ns == 45_000_000
        assert await bed.clear("near") == ["near"]
        assert await bed.in_force() == ["far"]

    on(bed, strike)


@pytest.mark.parametrize(
    ("when", "told"),
    [("it is laid again", ["strain", "heal", "refused"]), ("it is lifted", ["strain", "refused"])],
)
def test_what_flaps_ends_when_the_machine_refuses_and_the_record_says_why(when: str, told: list[str]) -> None:
    bed, unheard = Bed(), []

    async def strike(bed: Bed) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        await bed.strike(strain="a-1", cpu="50%", name="weak", for_="50s", flap="2s")
        (later,) = [task for task in asyncio.all_tasks() if task.get_name() == "after weak"]
        laid = bed.runtime.strain
        strained = 0

        async def strain(strains: Any) -> None:
            nonlocal strained
            strained += 1
            if strained > (1 if when == "it is laid again" else 0):
                raise PlatformError("a-1 cannot be limited: no")
            await laid(strains)

        bed.runtime.strain = strain  # type: ignore[method-assign]
        await asyncio.wait([later])
        del later
        gc.collect()

    on(bed, strike)
    assert [record["fault" if record["kind"] == "fault" else "kind"] for record in bed.records] == told
    assert "a-1 cannot be limited: no" in bed.records[-1]["why"]
    assert not unheard
