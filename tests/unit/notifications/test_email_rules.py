"""Which state may follow which, and what may be done with a mail."""

from datetime import timedelta

import pytest

from services.notifications.email.rules import CHECKS, LONGEST_UNDO_WINDOW, UNDO_WINDOW, Action, Mail, may_become
from shared.contracts.notifications import EmailState
from shared.contracts.refusals import Refused, actions

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


def refusal(action: Action, mail: Mail) -> Refused | None:
    try:
        CHECKS[action](mail)
    except Refused as refused:
        return refused
    return None


@pytest.mark.parametrize("state", EmailState)
@pytest.mark.parametrize("action", Action)
def test_every_action_in_every_state_is_allowed_or_refused_with_its_code(action: Action, state: EmailState) -> None:
    no = refusal(action, Mail(state, version=7))
    assert (no.code if no else None) == REFUSALS.get((action, state))
    assert no is None or no.facts == {"state": state, "version": 7}


@pytest.mark.parametrize("state", EmailState)
def test_the_shown_actions_say_what_the_commands_would_say(state: EmailState) -> None:
    shown = {one.name: (one.allowed, one.code) for one in actions(Mail(state), CHECKS)}
    assert shown == {a.value: ((a, state) not in REFUSALS, REFUSALS.get((a, state))) for a in Action}
    assert all(bool(one.why_not) != one.allowed for one in actions(Mail(state), CHECKS))


@pytest.mark.parametrize("state", EmailState)
def test_what_a_person_may_want_is_a_move_that_exists(state: EmailState) -> None:
    targets = {Action.HOLD: EmailState.HOLD, Action.QUEUE: EmailState.QUEUED, Action.SEND: EmailState.QUEUED}
    for action, target in targets.items():
        if refusal(action, Mail(state)) is None:
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
    no = refusal(action, Mail(state, is_anonymized=True))
    assert no is not None
    assert no.code == "email_anonymized"


def test_the_undo_window_is_within_its_limit() -> None:
    assert timedelta(0) < UNDO_WINDOW <= LONGEST_UNDO_WINDOW
