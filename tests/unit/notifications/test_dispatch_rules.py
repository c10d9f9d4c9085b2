"""What an SMTP answer means, and when a mail is tried again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.notifications.dispatch.rules import GIVE_UP_AFTER, Outcome, Stage, classify, next_try, without_addresses

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stage", "code", "outcome"),
    [
        (Stage.CONTENT, 250, Outcome.ACCEPTED),
        (Stage.RECIPIENT, 451, Outcome.TRANSIENT),
        (Stage.RECIPIENT, 450, Outcome.TRANSIENT),
        (Stage.RECIPIENT, 421, Outcome.TRANSIENT),
        (Stage.RECIPIENT, 550, Outcome.PERMANENT),
        (Stage.RECIPIENT, 553, Outcome.PERMANENT),
        (Stage.CONTENT, 452, Outcome.TRANSIENT),
        (Stage.CONTENT, 554, Outcome.PERMANENT),
        (Stage.SENDER, 451, Outcome.TRANSIENT),
        (Stage.SENDER, 552, Outcome.PERMANENT),
        (Stage.SENDER, 550, None),
        (Stage.SENDER, 530, None),
        (Stage.RECIPIENT, 530, None),
        (Stage.GREETING, 554, None),
        (Stage.GREETING, 421, None),
        (Stage.GREETING, 535, None),
        (Stage.GREETING, None, None),
        (Stage.SENDER, None, Outcome.TRANSIENT),
        (Stage.RECIPIENT, None, Outcome.TRANSIENT),
        (Stage.CONTENT, None, Outcome.UNKNOWN),
        (Stage.CONTENT, 354, Outcome.TRANSIENT),
    ],
)
def test_an_answer_means(stage: Stage, code: int | None, outcome: Outcome | None) -> None:
    assert classify(stage, code) is outcome


def test_the_ladder_is_1_5_30_minutes_2_hours_then_every_4_hours_for_4_days() -> None:
    tries, now, delays = [NOW], NOW, 1
    while (following := next_try(delays, NOW, now)) is not None:
        tries.append(following)
        now, delays = following, delays + 1
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits[:4] == [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2)]
    assert set(waits[4:]) == {timedelta(hours=4)}
    assert tries[-1] <= NOW + GIVE_UP_AFTER < tries[-1] + timedelta(hours=4)
    assert len(tries) == 28


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("5.1.1 <jane@example.com>: user unknown", "5.1.1 <address>: user unknown"),
        ("jane@example.com\r\nBcc: x@example.com", "<address> Bcc: <address>"),
        ("a\x00b\u202ec\x1b[31m", "a b c [31m"),
        ("x" * 900, "x" * 500),
        ("5.1.1 unknown si4111111111111111.7 - gsmtp", "5.1.1 unknown si************1111.7 - gsmtp"),
    ],
)
def test_a_servers_words_are_kept_without_addresses_on_one_line(said: str, kept: str) -> None:
    assert without_addresses(said) == kept
