"""One engine for all tests of the lane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.guest_engine import guest_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with guest_engine(tmp_path_factory.mktemp("engine")):
        yield
