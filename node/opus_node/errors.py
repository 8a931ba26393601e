"""Whose fault an error is (DESIGN section 9)."""

from __future__ import annotations


class NodeError(Exception):
    """One line that says what is wrong."""


class LocalError(NodeError):
    """This process, or whoever started it, is at fault: a bad option, a port in use, a second boot."""


class PeerError(NodeError):
    """A peer sent what the protocol does not allow."""
