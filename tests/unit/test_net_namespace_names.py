"""A namespace's name says whose it is; one named almost like a run's is nobody's."""

from __future__ import annotations

import pytest
from opus_controller.net.namespaces import NamespaceName, host_namespace, new_run, parse, wan_namespace


@pytest.mark.parametrize("host", ["a", "use1-3", "Host_7.lab", "0", "wan", "x" * 200])
def test_a_name_is_read_back_as_it_was_given(host: str) -> None:
    assert parse(host_namespace("0a1b2c3d", host)) == NamespaceName("0a1b2c3d", host)


def test_the_wan_is_no_host() -> None:
    assert parse(wan_namespace("0a1b2c3d")) == NamespaceName("0a1b2c3d", "")
    assert str(NamespaceName("0a1b2c3d", "")) == "opus-0a1b2c3d.wan"
    assert wan_namespace("0a1b2c3d") != host_namespace("0a1b2c3d", "wan")


@pytest.mark.parametrize(
    "name",
    [
        "opus-0a1b2c3d",
        "opus-0a1b2c3d-",
        "opus-0a1b2c3d.wan2",
        "opus-0a1b2c3d.wan\n",
        "opus-0a1b2c3d-h\n",
        "opus-0a1b2c3-h",
        "opus-0a1b2c3d4-h",
        "opus-0A1B2C3D-h",
        "opus-0a1b2c3g-h",
        "xopus-0a1b2c3d-h",
        "opus2-0a1b2c3d-h",
        "opus-0a1b2c3d--h",
        "opus-0a1b2c3d_h",
        "opus-0a1b2c3d-" + "x" * 201,
    ],
)
def test_almost_our_name_is_nobodys(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize("host", ["", "-h", ".h", "a/b", "../x", "a b", "h\n", "ä", "x" * 201])
def test_a_host_that_could_not_be_read_back_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="no namespace"):
        host_namespace("0a1b2c3d", host)


def test_runs_get_names_of_the_one_form() -> None:
    runs = {new_run() for _ in range(100)}
    assert len(runs) == 100
    assert all(parse(host_namespace(run, "h")) == NamespaceName(run, "h") for run in runs)
