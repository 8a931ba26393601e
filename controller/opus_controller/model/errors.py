"""Whose fault it is, and the exit code that says so (DESIGN section 8)."""

from __future__ import annotations


class OpusError(Exception):
    """One line for a person: what is wrong, where, and what would mend it."""

    exit_code = 1


class ScenarioError(OpusError):
    """Bad input from the user: a file, a line, a key, and what is allowed there."""

    exit_code = 2


class PlatformError(OpusError):
    """This machine cannot do it: what is missing, and the command that mends it."""

    exit_code = 3


class InvalidRun(OpusError):
    """The run's figures mean nothing: the machine was too busy, or the links were not what was asked for."""

    exit_code = 4
