"""Which state may follow which, what an SMTP answer means, when a mail is tried again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.notifications.domain import (
    GIVE_UP_AFTER,
    LONGEST_UNDO_WINDOW,
    UNDO_WINDOW,
    Action,
    Outcome,
    Stage,
    actions,
    classify,
    may_become,
    next_try,
    obstacle,
    without_addresses,
)
from shared.contracts.notifications import EmailState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
REFUSALS = {
    (Action.HOLD, EmailState.HOLD): "email_already_held",
    (Action.HOLD, EmailState.SENDING): "email_being_sent",
    (Action.HOLD, EmailState.SENT): "email_already_sent",
    (Action.HOLD, EmailState.BOUNCED): "email_not_queued",
    (Action.HOLD, EmailState.FAILED): "email_not_queued",
    (Action.QUEUE, EmailState.QUEUED): "email_already_queued",
    (Action.QUEUE, EmailState.SENDING): "email_being_sent",
    (Action.SEND, EmailState.SENDING): "email_being_sent",
}


@pytest.mark.parametrize("state", EmailState)
@pytest.mark.parametrize("action", Action)
def test_every_action_in_every_state_is_allowed_or_refused_with_its_code(action: Action, state: EmailState) -> None:
    no = obstacle(action, state)
    assert (no.code if no else None) == REFUSALS.get((action, state))


@pytest.mark.parametrize("state", EmailState)
def test_the_shown_actions_say_what_the_commands_would_say(state: EmailState) -> None:
    shown = {one.name: (one.allowed, one.code) for one in actions(state)}
    assert shown == {a.value: ((a, state) not in REFUSALS, REFUSALS.get((a, state))) for a in Action}
    assert all(bool(one.why_not) != one.allowed for one in actions(state))


@pytest.mark.parametrize("state", EmailState)
def test_what_a_person_may_want_is_a_move_that_exists(state: EmailState) -> None:
    targets = {Action.HOLD: EmailState.HOLD, Action.QUEUE: EmailState.QUEUED, Action.SEND: EmailState.QUEUED}
    for action, target in targets.items():
        if obstacle(action, state) is None:
            assert may_become(state, target)


def test_a_held_mail_is_never_sent_without_being_queued_first() -> None:
    assert {state for state in EmailState if may_become(state, EmailState.SENDING)} == {
        EmailState.QUEUED,
        EmailState.SENDING,
    }
    assert {state for state in EmailState if may_become(EmailState.HOLD, state)} == {
        EmailState.QUEUED,
        EmailState.FAILED,
    }


@pytest.mark.parametrize("state", EmailState)
@pytest.mark.parametrize("action", Action)
def test_nothing_may_be_done_with_a_mail_that_tells_of_nobody(action: Action, state: EmailState) -> None:
    no = obstacle(action, state, is_anonymized=True)
    assert no is not None
    assert no.code == "email_anonymized"


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


def test_the_undo_window_is_within_its_limit() -> None:
    assert timedelta(0) < UNDO_WINDOW <= LONGEST_UNDO_WINDOW


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("5.1.1 <jane@example.com>: user unknown", "5.1.1 <address>: user unknown"),
        ("jane@example.com\r\nBcc: x@example.com", "<address> Bcc: <address>"),
        ("a\x00b\u202ec\x1b[31m", "a b c [31m"),
        ("x" * 900, "x" * 500),
    ],
)
def test_a_servers_words_are_kept_without_addresses_on_one_line(said: str, kept: str) -> None:
    assert without_addresses(said) == kept
