"""How patiently a transaction that lost a race is repeated."""

from typing import Any

import pytest

from swpt_pythonlib.flask_signalbus import RetryPolicy

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("failures", "bound"),
    [
        pytest.param(1, 0.0, id="the first repetition is immediate"),
        pytest.param(2, 0.1, id="the second waits for the first pause"),
        pytest.param(3, 0.2, id="every pause doubles"),
        pytest.param(4, 0.3, id="but never beyond the longest"),
        pytest.param(5, 0.3, id="where it stays"),
        pytest.param(6, None, id="and the last attempt is final"),
        pytest.param(7, None, id="as is every later one"),
    ],
)
def test_pauses_grow_until_attempts_run_out(failures: int, bound: float | None) -> None:
    """A8: the bound of a pause is a function of the number of failures."""
    policy = RetryPolicy(attempts=6, first_pause=0.1, longest_pause=0.3)

    assert policy.longest_pause_after(failures) == bound


def test_pauses_are_drawn_at_random_from_all_of_their_range() -> None:
    """A8: contenders that met once should not meet again."""
    policy = RetryPolicy(attempts=3, first_pause=1.0, longest_pause=1.0)

    pauses = [policy.pause_after(2) or 0.0 for _ in range(200)]

    assert all(0.0 <= pause <= 1.0 for pause in pauses)
    assert min(pauses) < 0.25
    assert max(pauses) > 0.75


def test_a_first_pause_of_zero_turns_pausing_off() -> None:
    """A8: tests need not wait."""
    policy = RetryPolicy(attempts=5, first_pause=0.0)

    pauses = [policy.pause_after(failures) for failures in range(1, 6)]

    assert pauses == [0.0, 0.0, 0.0, 0.0, None]


def test_a_longest_pause_of_zero_turns_pausing_off() -> None:
    """A8: the longest pause bounds every one."""
    policy = RetryPolicy(attempts=3, first_pause=0.1, longest_pause=0.0)

    assert [policy.pause_after(failures) for failures in (1, 2, 3)] == [0.0, 0.0, None]


def test_no_run_begins_after_the_time_to_give_up() -> None:
    """A8: however many attempts are left; losing a race may take long itself."""
    policy = RetryPolicy(attempts=5, first_pause=0.0, give_up_after=10.0)

    assert policy.pause_after(1, 9.9) == 0.0
    assert policy.pause_after(1, 10.1) is None


def test_one_attempt_turns_repeating_off() -> None:
    """A8: the first run counts as an attempt."""
    policy = RetryPolicy(attempts=1)

    assert policy.pause_after(1) is None


def test_a_policy_can_be_as_patient_as_one_likes() -> None:
    """A8: no number of failures is too large for the arithmetic of pauses."""
    policy = RetryPolicy(attempts=1_000_000, first_pause=0.1, longest_pause=2.0)

    assert policy.longest_pause_after(999_999) == 2.0


@pytest.mark.parametrize("failures", range(1, 50))
def test_the_default_policy_repeats_before_it_gives_up(failures: int) -> None:
    """A8: by default a block may lose a good number of races, in little time."""
    policy = RetryPolicy()

    bound = policy.longest_pause_after(failures)

    assert bound is not None
    assert bound <= 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"attempts": 0}, "'attempts' must be 1 or more", id="no attempt"),
        pytest.param({"attempts": -1}, "'attempts' must be 1 or more", id="fewer"),
        pytest.param({"first_pause": -0.1}, "must not be negative", id="first pause"),
        pytest.param({"longest_pause": -1.0}, "must not be negative", id="longest"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    """A8: a mistake is reported where it is made."""
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**arguments)


def test_policies_are_values() -> None:
    """A8: equal policies are interchangeable, and none changes under way."""
    policy = RetryPolicy(attempts=3)

    assert policy == RetryPolicy(attempts=3)
    assert hash(policy) == hash(RetryPolicy(attempts=3))
    with pytest.raises(AttributeError):
        policy.attempts = 4  # type: ignore[misc]
