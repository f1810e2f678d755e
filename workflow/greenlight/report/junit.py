"""The checks as JUnit XML, which every CI system shows: a suite a model, a case a check of a variant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree

from greenlight.report.checks import CheckRow
from greenlight.report.facts import Facts
from greenlight.report.markup import one_line
from greenlight.report.render import WORDS

# What XML 1.0 can't hold even as an entity, besides what `visible` has replaced.
_NOT_XML = re.compile("[\ufffe\uffff]")


def junit(facts: Facts) -> str:
    """junit.xml.

    The first suite, `greenlight`, has the gate's verdict as a case, and the checks of the run and of whole models, so
    that no file is ever green where the gate is not. A check that stops its variant is a failure, also where the gate
    passes with another variant; one that does not hold and only warns has passed, with its sentence as output; one
    that decides nothing and stops nothing, or was not measured, is skipped, with its reason.
    """
    root = ElementTree.Element("testsuites", name="greenlight")
    whole = [check for check in facts.checks if not check.variant]
    _suite(root, facts, "greenlight", [_verdict(facts), *(_case(check) for check in whole)])
    models = dict.fromkeys([*(model.name for model in facts.models), *(check.model for check in facts.checks)])
    for model in filter(None, models):
        own = [_case(check) for check in facts.checks if check.variant and check.model == model]
        if own:
            _suite(root, facts, model, own)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _verdict(facts: Facts) -> ElementTree.Element:
    """The gate itself as a case."""
    case = ElementTree.Element("testcase", classname="greenlight", name="gate")
    if facts.verdict != "pass":
        text = "\n".join(_text(line) for line in (WORDS[facts.verdict], *facts.reasons, *facts.problems))
        _end(case, "failure", facts.verdict, WORDS[facts.verdict]).text = text
    return case


def _case(check: CheckRow) -> ElementTree.Element:
    whom = ".".join(filter(None, ("greenlight", check.model, check.variant)))
    case = ElementTree.Element("testcase", classname=_text(whom), name=_text(check.name))
    if check.blocking:
        _end(case, "failure", check.status, check.reason).text = _text(check.reason)
    elif check.status in ("pass", "warn", "fail"):
        sentence = check.reason if check.status == "pass" else f"{check.status}: {check.reason}"
        ElementTree.SubElement(case, "system-out").text = _text(sentence)
    else:
        ElementTree.SubElement(case, "skipped", message=_text(f"{check.status}: {check.reason}"))
    return case


def _end(case: ElementTree.Element, tag: str, kind: str, message: str) -> ElementTree.Element:
    return ElementTree.SubElement(case, tag, type=_text(kind), message=_text(message))


def _suite(root: ElementTree.Element, facts: Facts, name: str, cases: Iterable[ElementTree.Element]) -> None:
    """A suite with its counts; of cases of the same name, the later ones are numbered, for consumers drop them."""
    seen: Counter[tuple[str, str]] = Counter()
    suite = ElementTree.SubElement(root, "testsuite", name=_text(name))
    for case in cases:
        seen[key := (case.attrib["classname"], case.attrib["name"])] += 1
        if seen[key] > 1:
            case.set("name", f"{case.attrib['name']} ({seen[key]})")
        suite.append(case)
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f".//{tag}"))))
    if facts.measured_to:
        suite.set("timestamp", facts.measured_to.rstrip("Z"))


def _text(value: object) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", one_line(value))
