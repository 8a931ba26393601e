"""Results of the conformance suite: kept as JSON for each kind of links, printed side by side at the end."""

from __future__ import annotations

import pytest
from helpers.fidelity import results


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if results.measured_now:
        terminalreporter.section("fidelity of links")
        terminalreporter.write_line(results.table())
