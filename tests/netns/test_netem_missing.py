"""What a kernel without sch_netem means for `--links`: said in one line, with what mends it, and nothing left behind."""

from __future__ import annotations

import pytest
from opus_controller.model.errors import PlatformError
from opus_controller.net import namespaces
from opus_controller.net.choose import choose
from opus_controller.net.netem_probe import netem_available

pytestmark = pytest.mark.netns


def test_the_choice_follows_the_kernel() -> None:
    """auto takes netem if and only if it works here; asking for what does not work is an error of the platform."""
    works, why = netem_available()
    assert choose("auto").kind == ("netem" if works else "userspace")
    assert choose("userspace").kind == "userspace"
    if works:
        assert choose("netem").kind == "netem"
        return
    assert "sch_netem" in choose("auto").why
    with pytest.raises(PlatformError) as refused:
        choose("netem")
    assert refused.value.exit_code == 3
    assert "modprobe" in str(refused.value)
    assert "--links userspace" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value) == why


def test_trying_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    run = namespaces.new_run()
    monkeypatch.setattr(namespaces, "new_run", lambda: run)
    netem_available()
    assert namespaces.of_run(run) == []
