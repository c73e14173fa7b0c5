from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase

import pytest
from tropilla.common import names
from tropilla.compose import roles

PASSWORDS = {role: f"secret-{role}" for role in roles.ROLES}


def lines() -> dict[str, list[str]]:
    """user -> the words of his rules."""
    split = (line.split() for line in roles.acl(PASSWORDS).splitlines())
    return {words[1]: words[2:] for words in split}


def may_touch(role: str, key: str) -> bool:
    return any(fnmatchcase(key, word[1:]) for word in lines()[role] if word.startswith("~"))


def test_nobody_can_be_the_user_as_whom_redis_reads_its_own_log() -> None:
    assert lines()["default"] == ["reset", "off", "~*", "&*", "+@all"]


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_user_starts_from_nothing_and_has_a_password_that_the_file_does_not_tell(role: str) -> None:
    words = lines()[role]
    assert words[:2] == ["reset", "on"]
    assert words[2] == f"#{hashlib.sha256(PASSWORDS[role].encode()).hexdigest()}"
    assert "nopass" not in words
    assert PASSWORDS[role] not in roles.acl(PASSWORDS)


@pytest.mark.parametrize("role", ["api", "worker", "store"])
def test_no_part_of_the_cluster_may_empty_stop_or_rule_redis(role: str) -> None:
    words = lines()[role]
    assert words.index("+@all") < words.index("-@dangerous") < words.index("-@admin")
    allowed = [word for word in words[words.index("-@admin") :] if word.startswith("+")]
    assert allowed == ["+script|load", "+script|exists", "+info", "+config|get"]


def test_flower_has_no_script_of_its_own_and_adds_to_no_queue() -> None:
    rules, *brackets = " ".join(lines()["flower"]).split(" (")
    words = rules.split()
    forbidden = {
        "+@all",
        "+@write",
        "+@scripting",
        "+eval",
        "+script",
        "+script|load",
        "+lpush",
        "+rpush",
        "+set",
        "+hset",
    }
    assert not forbidden & set(words)
    # Rules in brackets hold for their keys only.
    assert [bracket.split()[0] for bracket in brackets] == ["~*", "~unacked_mutex", "~unacked_index"]
    assert brackets[0] == "~* +llen)"
    assert not any(may_touch("flower", key) for key in ("pocket.cpu", names.STORE_QUEUE, names.COUNTS_KEY))


@pytest.mark.parametrize(
    ("role", "key", "allowed"),
    [
        ("api", names.BATCHES_KEY, True),
        ("api", names.state_key("x"), True),
        ("api", "someone:else", False),
        ("worker", names.journal_key("x"), True),
        ("worker", names.room_key("pocket.cpu"), True),
        ("worker", names.order_key("cpu-1@box"), True),
        ("worker", names.INFORMATION_KEY, True),
        ("worker", names.BATCHES_KEY, False),
        ("worker", names.idempotency_key("key", "word"), False),
        ("worker", "tropilla:keys", False),
        ("store", names.MODELS_KEY, True),
        ("store", names.errand_key("x"), True),
        ("store", names.office_key(names.STORE_OFFICE), True),
        ("store", names.journal_key("x"), False),
        ("store", "tropilla:keys", False),
        ("metrics", names.COUNTS_KEY, False),
        ("operator", names.COUNTS_KEY, True),
    ],
)
def test_everybody_touches_his_own_keys_only(role: str, key: str, allowed: bool) -> None:
    assert may_touch(role, key) is allowed


@pytest.mark.parametrize(
    "key", ["pocket.cpu", "lab/pocket:q8.gpu", "pocket.cpu\x06\x163", "unacked_index", names.STORE_QUEUE]
)
def test_workers_find_their_lanes_whatever_a_model_is_called(key: str) -> None:
    assert may_touch("worker", key)
    assert may_touch("api", key)
