"""Redaction: what is personal data and what only looks so, all over JSON, in linear time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopai_runtime.errors import UsageError
from loopai_runtime.redaction import Redactor, Rule, find, find_in_number, flags

PERSONAL = {
    "EMAIL": ["bob.o-neill+news@mail.example.co.uk", "jürgen@müller.de", "a@b.io", "x_1@sub-domain.example.museum"],
    "PHONE": ["+1 (555) 123-4567", "555-123-4567", "(0161) 496 0066", "+49 (0) 9141 777631", "08-170 669 07", "090-1234-5678",
              "8 (836) 075-9838", "04 15 39 15 00", "13812345678", "0232781286", "+380 39 150-00-80", "555.123.4567 x22"],
    "SSN": ["123-45-6789", "078 05 1120"],
    "CARD": ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "6011000990139424"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NO9386011117947"],
    "IP": ["192.168.10.1", "::ffff:10.1.2.3", "2001:db8::8a2e:370:7334", "fe80::1"],
    "URL": ["https://example.com/a?b=c#d", "http://user@host:8080/x", "www.example.org/path", "ftp://files.example.net"],
    "KEY": ["AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "sk-proj-abc123def456ghi789jkl012",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"],
}  # fmt: skip
HARMLESS = [
    "2026-11-25", "2026-11-25 15:33:09", "25.11.2026", "11/25/2026", "1732546800", "1732546800123", "version 10.15.7.2",
    "v1.2.3.4", "order 4829104823", "ORD-502383019", "#4829104823", "ISBN 978-3-16-148410-0", "0-306-40615-2",
    "1,234,567.89 EUR", "52.520008, 13.404954", "12:34:56", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "1234567890123456",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709", "1Z999AA10123456784", "DE89 3704 0044 0532 0130 01", "999.999.999.999",
    "2020-2024", "3.141592653", "a@b", "@here", "12 of 345", "25. 11. 2012", "1642-1649", "7847+5943", "12345678 units", "blk_-4433556521525567493", "host-82-68-222-195.dsl.example", "10 000 000", "http", "aa:bb:cc:dd:ee:ff",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in PERSONAL.items() for text in texts])
def test_personal_data_is_found_whole_wherever_it_stands(kind: str, text: str) -> None:
    for sentence in ("{}", "It is {}.", "({})", "Mine: {}, and yours?", "« {} »", "см. {}\nnext line"):
        said = sentence.format(text)
        assert [(one.kind, said[one.start : one.end]) for one in find(said)] == [(kind, text)], said


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_so_is_left_alone(text: str) -> None:
    for sentence in ("{}", "It is {}.", "({})", "see {}; thanks"):
        assert find(sentence.format(text)) == [], sentence.format(text)


def kinds(text: str, name: str = "") -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for kind, start, end in find(text, name)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("邮箱是bob@example.com谢谢", [("EMAIL", "bob@example.com")]),
        ("a|bob@example.com|b, to=eve@example.org", [("EMAIL", "bob@example.com"), ("EMAIL", "eve@example.org")]),
        ("卡号4111111111111111。", [("CARD", "4111111111111111")]),
        ("IP地址10.1.2.3。", [("IP", "10.1.2.3")]),
        ("card 4111 1111 1111 1111 12/27", [("CARD", "4111 1111 1111 1111")]),
        ("10.1.2.3 555-123-4567", [("IP", "10.1.2.3"), ("PHONE", "555-123-4567")]),
        ("2026-11-25 555-123-4567", [("PHONE", "555-123-4567")]),
        ("+1 555 123 4567 +1 555 123 4568", [("PHONE", "+1 555 123 4567"), ("PHONE", "+1 555 123 4568")]),
        ("call ０９０-１２３４-５６７８", [("PHONE", "０９０-１２３４-５６７８")]),
        ("a,5551234567,5551234568", [("PHONE", "5551234567"), ("PHONE", "5551234568")]),
        ("logo@2x.png, react@18.2.0", []),
    ],
)
def test_what_touches_a_finding_is_no_part_of_it(text: str, found: list[tuple[str, str]]) -> None:
    assert kinds(text) == found


def test_the_nearest_word_says_what_a_number_is() -> None:
    assert kinds("order 55512345, phone 55512345") == [("PHONE", "55512345")]
    assert kinds("phone 55512345, order 55512345") == [("PHONE", "55512345")]
    assert kinds("orders 4829104823, 4829104824") == []
    assert kinds("订单4829104823") == []


def test_the_name_of_a_field_says_what_its_value_is() -> None:
    assert kinds("4829104823", "orderId") == kinds("4829104823", "order_id") == []
    assert kinds("4829104823", "phoneNumber") == [("PHONE", "4829104823")]
    assert find_in_number(4829104823, "phone")
    assert not find_in_number(4829104823, "total")
    assert find_in_number(4111111111111111.0)
    redacted = Redactor().redact({"db_password": "two words", "apiKey": 5, "password": None, "tokens": ["a", "b"]})
    assert redacted == {"db_password": "[SECRET]", "apiKey": "[SECRET]", "password": None, "tokens": ["a", "b"]}


def test_keys_that_become_equal_are_all_kept() -> None:
    redacted = Redactor().redact({"a@b.io": 1, "c@d.io": 2, "[EMAIL]": 3})
    assert redacted == {"[EMAIL] 2": 1, "[EMAIL] 3": 2, "[EMAIL]": 3}


def test_a_value_nested_deeper_than_anybody_nests_is_replaced_not_walked() -> None:
    value: Any = "a@b.io"
    for _ in range(5_000):
        value = [value]
    once = Redactor().redact(value)
    assert "a@b.io" not in str(once)


def test_a_secret_is_known_by_its_name_and_a_private_key_by_its_frame() -> None:
    redactor = Redactor()
    assert redactor.text("password: hunter2!x and api_key=abcdef123") == "password: [SECRET] and api_key=[SECRET]"
    assert redactor.text("Authorization: Bearer abcdefghij1234567890") == "Authorization: Bearer [SECRET]"
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----"
    assert redactor.text(f"key:\n{pem}\nrest") == "key:\n[KEY]\nrest"
    assert redactor.text("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg") == "[KEY]"


def test_the_whole_of_a_json_value_is_walked_keys_and_numbers_too() -> None:
    value = {
        "to": ["bob@example.com", {"deep": "call +1 555 123 4567"}],
        "alice@example.com": 1,
        "card": 4111111111111111,
        "n": 12.5,
        "yes": True,
        "none": None,
    }
    assert Redactor().redact(value) == {
        "to": ["[EMAIL]", {"deep": "call [PHONE]"}],
        "[EMAIL]": 1,
        "card": "[CARD]",
        "n": 12.5,
        "yes": True,
        "none": None,
    }


def test_rules_for_fields_come_first() -> None:
    rules = [Rule("$.notes", "drop"), Rule("$.customer.id", "hash"), Rule("$.items[*].url", "keep")]
    redactor = Redactor(rules, key=b"k" * 32)
    value = {"notes": {"a": 1}, "customer": {"id": 7}, "items": [{"url": "http://x.org", "by": "a@b.io"}]}
    found = redactor.redact(value)
    assert found["notes"] == "[DROPPED]"
    assert found["items"] == [{"url": "http://x.org", "by": "[EMAIL]"}]
    assert found["customer"]["id"] == redactor.hash(7) != Redactor(rules, key=b"x" * 32).hash(7)


def test_a_rule_that_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="not a JSON path"):
        Redactor([Rule("customer.email", "drop")])
    with pytest.raises(UsageError, match="needs a key"):
        Redactor([Rule("$.a", "hash")])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
messy = st.lists(
    st.sampled_from(
        ["+1", "555", "-", " ", "(", ")", "@", ".", "a", "http://", ":", "4111", "x", "DE89", "\n", "é", "0"]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=200)
@given(json_values | messy)
def test_any_value_is_redacted_and_redacting_again_changes_nothing(value: Any) -> None:
    once = Redactor().redact(value)
    assert Redactor().redact(once) == once


@settings(max_examples=300)
@given(messy)
def test_findings_are_in_order_apart_and_not_empty(text: str) -> None:
    found = find(text)
    assert all(one.start < one.end for one in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert flags(text) == bool(found)


HOSTILE = ["1", "1 ", "+1", "(", "a@", "a.", "a@b.c", ":", "a:", "http://", "www.a", "DE89 3704 ", "4111 1111 1111 1112 ",
           "(555) 123-4567x", "password:", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "1.2.3.", " ", "555-", "0/", "1--", "::1 ", "a://@a.", "5551234567 ",
           "555-123-4567,", "１555-123-4567,", "order 12345678 ", "NO93 8601 1117 947 ", "-eyJa", "[PHONE]1 ",
           ",http://a", "(www.a", ",www.a", "www.www.1:", "4111-1111-1111-1111,http://"]  # fmt: skip


@pytest.mark.parametrize("pattern", HOSTILE)
def test_time_grows_with_the_text_and_no_faster(pattern: str) -> None:
    def seconds(size: int) -> float:
        text = (pattern * size)[:size]
        best = 1e9
        for _ in range(3):
            started = time.process_time()
            find(text)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(80_000) < 14 * seconds(10_000) + 0.02
