"""An overlay of whole cores whose application's keys are registers, its clients, and trouble: all but the end of a majority.

Clients ask at random hosts, most of them for one key: what meets nobody shows nothing.
"""

from __future__ import annotations

from random import Random
from typing import Any

from opus_controller.engine.linearizable import Verdict
from opus_controller.model.plan import App
from opus_controller.report.consistency import History, history_of, judged
from opus_node.core.data.cells import Cell, Config, Peer
from opus_node.core.data.keeper import Keeper
from opus_node.core.data.sharded import Sharded
from opus_node.core.events import RegisterDone
from opus_node.core.types import EVENTUAL, LINEARIZABLE, MILLISECOND, SECOND, AppConfig, NodeConfig
from opus_node.folds import notice_to_record

from helpers.corenet import APP, SIX, Chance, CoreNet, six_regions

KEYS = (0, 0, 0, 1, 2)
CALM = 30 * SECOND
STALENESS = 4 * SECOND


def operation_done(net: CoreNet, node: str, number: int) -> RegisterDone:
    """Plays on until it is."""
    for _ in range(300):
        for told in reversed(net.told):
            if isinstance(told.notice, RegisterDone) and (told.node, told.notice.request) == (node, number):
                return told.notice
        net.run_for(10 * MILLISECOND)
    raise AssertionError(f"request {number} of {node} is not done")


class RegisterNet:
    def __init__(
        self,
        seed: str,
        *,
        per_site: int = 4,
        loss: float = 0.0,
        jitter: int = 20 * MILLISECOND,
        replicas: int = 3,
        mode: str = LINEARIZABLE,
        **of_app: Any,
    ) -> None:
        """`of_app`: more of the application's configuration."""
        self.app = AppConfig(APP, replicas, consistency=mode, staleness=STALENESS, **of_app)
        config = NodeConfig(apps=(self.app,))
        chance = Chance(loss=loss, duplicate=0.02, jitter=jitter)
        self.net: CoreNet = six_regions(config, seed=seed, per_site=per_site, chance=chance)
        self.rng = Random(seed)
        self.calm_from = 0

    def keeper(self, node: str) -> Keeper:
        found = self.net.cores[node]._replica.registers._by_app[APP]
        assert isinstance(found, Keeper)
        return found

    def ready(self, node: str) -> bool:
        return self.net.cores[node]._replica.registers.ready(APP)

    def held(self, node: str, key: int = 0) -> Cell:
        """What a host holds of a key."""
        found = self.net.cores[node]._replica.registers._by_app[APP]
        assert not isinstance(found, Sharded)
        store = found.holder.store if isinstance(found, Keeper) else found._store
        return store.get(str(key))

    def config(self) -> Config:
        """The last one that anybody serves; without configurations, the replicas."""
        if self.app.consistency == EVENTUAL:
            return Config(0, tuple(Peer(node, self.net.lives[node]) for node in self.net.replicas()))
        served = [self.keeper(node).holder.config for node in self.net.live() if self.keeper(node).ready]
        return max((one for one in served if one is not None), key=lambda one: one.number)

    def living(self) -> int:
        """Members of the last configuration that are there, in the life in which they became members."""
        return sum(one.node not in self.net.dead and self.net.lives[one.node] == one.incarnation for one in self.config().members)

    # Clients

    def write(self, node: str, key: int = 0, deadline: int = 2 * SECOND) -> int:
        return self.net.request(node, deadline, write=True, key=key)

    def read(self, node: str, key: int = 0, deadline: int = 2 * SECOND) -> int:
        return self.net.request(node, deadline, write=False, key=key)

    def done(self, node: str, number: int) -> RegisterDone:
        return operation_done(self.net, node, number)

    def written(self, node: str, key: int) -> str:
        """Tries until it is; the value."""
        for _ in range(10):
            done = self.done(node, self.write(node, key))
            if done.outcome == "ok":
                return done.value
        raise AssertionError(f"{key} cannot be written by {node}")

    def ask(self, writes: float) -> None:
        rng = self.rng
        self.net.request(rng.choice(self.net.live()), 2 * SECOND, write=rng.random() < writes, key=rng.choice(KEYS))

    def load(self, span: int, gap: int = 60 * MILLISECOND, writes: float = 0.4) -> None:
        end = self.net.now + span
        while self.net.now < end:
            self.ask(writes)
            self.net.run_for(self.rng.randrange(1, gap))

    # What goes wrong

    def trouble(self, span: int) -> None:
        """Every few seconds something, while clients ask; a majority of those who keep the data lives, though perhaps cut off."""
        net, rng = self.net, self.rng
        end = net.now + span
        while net.now < end:
            what = rng.choice(["off", "off", "restart", "cut", "heal", "steward"])
            if what == "off":
                self.power_off(rng.choice([*net.replicas(), *net.live()]))
            elif what == "steward" and net.stewards():
                self.power_off(rng.choice(net.stewards()))
            elif what == "restart" and net.dead:
                net.boot(rng.choice(sorted(net.dead)))
            elif what == "cut":
                net.heal()
                sides = rng.sample(SIX, rng.choice([1, 2]))
                net.cut([node for node in net.cores if node.split("-")[0] in sides])
            elif what == "heal":
                net.heal()
            self.load(rng.randrange(1, 5) * SECOND)

    def power_off(self, node: str) -> None:
        members = self.config().members
        hit = any(one.node == node for one in members)
        if len(self.net.dead) < 4 and (not hit or self.living() - 1 >= self.config().majority):
            self.net.power_off(node)

    def calm(self) -> None:
        """All is mended, and then some time."""
        self.calm_from = self.net.now
        self.net.heal()
        self.net.chance.loss = 0.0
        for node in sorted(self.net.dead):
            self.net.boot(node)
        self.load(CALM, gap=300 * MILLISECOND)

    # What is left of it

    def history(self) -> History:
        told = [one for one in self.net.told if isinstance(one.notice, RegisterDone)]
        return history_of([notice_to_record(one.at, one.node, one.notice) for one in told])

    def violated(self) -> Verdict | None:
        """The first key for which the mode's promise was broken, or of which nobody can say; None: none."""
        app = App(name=APP, replicas=1, consistency=self.app.consistency, staleness_ns=self.app.staleness, missed=self.app.missed)
        verdicts = judged(self.history(), app, self.calm_from)
        return next((one for one in verdicts if one.found not in ("linearizable", "kept")), None)

    def outcomes(self, since: int) -> list[str]:
        return [one.outcome for one in self.net.outcomes(since)]
