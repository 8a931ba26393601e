"""Hosts that come back with what they had, or as new ones: what their programs find on their disks."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest
from helpers.netns_runs import events, leftovers, opus, start_run, state_of, until
from helpers.service_runs import ready, written
from opus_controller.runtimes.hosts import state

pytestmark = pytest.mark.netns

WEB = """\
{command: [sh, -c, 'echo started >> {data}/starts; exec python3 "{files}/program.py" {port} tcp'], port: 8080, protocol: tcp,
    files: line, request: "hi {key}\\n"}"""


def starts(run: state.RunState, host: str) -> int:
    """How often the program has been started here, as its data tell."""
    return len((Path(run.hosts[host].control_dir) / "services" / "web" / "data" / "starts").read_text().splitlines())


def back(out: Path, host: str, times: int) -> int:
    """Whether the host's program has been ready so often."""
    return len([e for e in events(out, "service") if (e["host"], e["app"], e["ready"]) == (host, "web", True)]) >= times


def fetches(out: Path, host: str) -> int:
    return len([e for e in events(out, "shipped") if (e["host"], e["app"]) == (host, "web")])


def test_a_restarted_host_has_its_data_unless_its_state_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = written(tmp_path / "in", WEB, duration=200)
    path.write_text(path.read_text().replace("    replicas: 2\n", "    policy: everywhere\n"))
    process = start_run(path, out)
    try:
        run = until("a run's state", lambda: state_of(process))
        until("programs at all hosts", lambda: len(ready(out, "web")) == len(run.hosts))
        assert (starts(run, "c-2"), fetches(out, "c-2")) == (1, 1)
        for times, more, left in ((2, (), (2, 1)), (3, ("--state", "lost"), (1, 2)), (4, ("--state", "same"), (2, 2))):
            assert opus("fault", "kill", "c-2", "--run", run.run).returncode == 0
            done = opus("fault", "restart", "c-2", "--run", run.run, *more)
            assert done.returncode == 0, done.stderr
            until("the program", partial(back, out, "c-2", times))
            assert (starts(run, "c-2"), fetches(out, "c-2")) == left
        assert starts(run, "c-1") == 1
        wrong = opus("fault", "restart", "c-2", "--run", run.run, "--state", "half")
        assert wrong.returncode == 2
        assert len(wrong.stderr.splitlines()) == 1
        assert "same" in wrong.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert leftovers(run) == {}
