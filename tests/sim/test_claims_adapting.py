"""What `opus claims` changes in a running overlay is changed, and looked at."""

from __future__ import annotations

import numpy as np
from helpers.planted_lives import clouds
from opus_controller.bench.overlay.data import plan
from opus_controller.bench.overlay.lab import Lab
from opus_controller.bench.overlay.oracles import delays_ms
from opus_controller.bench.worlds import SECOND
from opus_controller.claims.measure.adapting import answered_after


def test_paths_of_a_region_are_lengthened_and_no_others() -> None:
    lab = Lab(plan(clouds().topology(12), seed=1, replicas=3))
    before = delays_ms(lab.plan)
    lab.lengthen([lab.plan.hosts[0].site, lab.plan.hosts[1].site], 3.0)
    after = delays_ms(lab.plan, lab.network)
    access = 1.0  # ms of both links
    assert np.allclose(after[:2, 2:] - access, 3 * (before[:2, 2:] - access), atol=1e-3)
    assert np.array_equal(after[2:, 2:], before[2:, 2:])
    lab.run_until(20)
    lab.ask([lab.plan.hosts[0].name], lab.now, deadline_s=5)
    lab.run_for(6)
    (asked,) = lab.requests
    index = {host.address: host.index for host in lab.plan.hosts}
    assert asked["outcome"] == "ok"
    assert asked["arrived_at"] - asked["issued_at"] >= 0.99e6 * after[0, index[asked["replica"]]]


def test_the_last_bad_window_tells_how_long_it_took() -> None:
    lab = Lab(plan(clouds().topology(12), seed=1, replicas=3))
    lab.requests = [{"issued_at": k * SECOND // 2, "outcome": "ok" if k >= 24 else "deadline"} for k in range(80)]
    assert answered_after(lab, 0, 40 * SECOND) == 16.0, "12 s of failures, and the window that begins in the last of them"
    assert answered_after(lab, 12 * SECOND, 40 * SECOND) == 0.0
