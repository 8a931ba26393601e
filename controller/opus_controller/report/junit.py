"""Results as JUnit XML, which GitLab, Jenkins and others read: a suite a run, a test case an expectation.

There is no standard of this format; what is written here is what the readers agree on (element and attribute names of
Jenkins' xunit plug-in and of GitLab's unit test reports). A failed expectation is a failure; of an invalid run every test
case is an error, since its figures prove neither success nor failure.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from opus_controller.report import words
from opus_controller.report.result import ExpectationResult, Result

VALID = "the run is valid"
"""The one test case of a scenario without expectations: a suite without any is taken for a broken file."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot say, not even escaped."""


def to_junit(results: Sequence[Result]) -> str:
    """The document, newline at the end; `time` is wall time in seconds."""
    root = ET.Element("testsuites", name="opus")
    suites = [_suite(root, result) for result in results]
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", _time(sum(result.wall_s or 0.0 for result in results)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(root: ET.Element, result: Result) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=_text(f"{result.scenario} seed {result.seed}"))
    if result.started_at:
        suite.set("timestamp", re.sub(r"[+-]\d\d:\d\d$", "", result.started_at))  # ISO 8601 without a zone, as readers expect
    properties = ET.SubElement(suite, "properties")
    for name in ("topology", "runtime", "links", "seed", "plan_digest", "command"):
        ET.SubElement(properties, "property", name=name, value=_text(str(getattr(result, name))))
    for expected in result.expectations:
        _case(suite, result, expected.name, expected)
    if not result.expectations:
        _case(suite, result, VALID, None)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")
    suite.set("time", _time(result.wall_s or 0.0))
    return suite


def _case(suite: ET.Element, result: Result, name: str, expected: ExpectationResult | None) -> None:
    """The run's time is the suite's: an expectation takes none of its own."""
    where = f"opus.{result.scenario}.seed-{result.seed}"
    case = ET.SubElement(suite, "testcase", classname=_text(where), name=_text(name), time="0")
    if result.verdict == "invalid":
        reasons = result.validity.reasons or ["no reason was recorded"]
        _say(case, "error", f"the run is invalid: {reasons[0]}", "invalid", reasons)
    elif expected is not None and not expected.ok:
        measured = words.measured(expected)
        told = [
            f"expected {expected.figure} {expected.op} {expected.target:g}",
            f"measured {measured}",
            f"again: {result.command}",
        ]
        _say(case, "failure", f"measured {measured}", "expectation", told)


def _say(case: ET.Element, kind: str, message: str, type_: str, lines: Sequence[str]) -> None:
    ET.SubElement(case, kind, message=_text(message), type=type_).text = _text("\n".join(lines))


def _text(text: str) -> str:
    return _NOT_XML.sub("�", text)


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
