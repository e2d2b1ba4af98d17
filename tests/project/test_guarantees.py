"""The page of guarantees and the tests must know the same rules."""

import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "guarantees.rst"
# S1…S6, F1…F22, W1…W5 and so on; not the codes of linters, which have three digits.
RULE_NUMBER = re.compile(r"\b[SFAMCWOX][1-9]\d?\b")
RULE_DIRECTIVE = re.compile(r"^\.\. rule:: (\S+)$", re.MULTILINE)


def promised_rules() -> list[str]:
    return RULE_DIRECTIVE.findall(PAGE.read_text(encoding="utf-8"))


def cited_rules() -> dict[str, set[str]]:
    cited: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for rule in RULE_NUMBER.findall(path.read_text(encoding="utf-8")):
                cited.setdefault(rule, set()).add(path.name)

    return cited


def test_the_page_lists_rules_that_can_be_cited() -> None:
    rules = promised_rules()

    assert rules, f"No rule was found in {PAGE}."
    assert [rule for rule in rules if not RULE_NUMBER.fullmatch(rule)] == []


def test_no_rule_is_listed_twice() -> None:
    counts = Counter(promised_rules())

    assert [rule for rule, count in counts.items() if count > 1] == []


def test_every_rule_is_cited_by_a_test() -> None:
    cited = cited_rules()

    assert [rule for rule in promised_rules() if rule not in cited] == []


def test_no_test_cites_a_rule_that_does_not_exist() -> None:
    promised = set(promised_rules())

    unknown = {
        rule: files for rule, files in cited_rules().items() if rule not in promised
    }
    assert unknown == {}
