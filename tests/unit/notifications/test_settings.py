"""Settings: where the SMTP server is, and faults that are named without their values."""

import pytest

from services.notifications.settings import Settings
from services.notifications.smtp.transport import SmtpServer
from shared.settings import SettingsInvalid


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 25, tls=False, start_tls=False)),
        ("smtp://127.0.0.1:1025/", SmtpServer("127.0.0.1", 1025, tls=False, start_tls=False)),
        ("smtps://u:p%40ss@mail.example.com", SmtpServer("mail.example.com", 465, True, False, "u", "p@ss")),
        ("smtp+starttls://u:p@mail.example.com:2587", SmtpServer("mail.example.com", 2587, False, True, "u", "p")),
        ("smtp://u:p@localhost:1025", SmtpServer("localhost", 1025, False, False, "u", "p")),
    ],
)
def test_an_smtp_url_says_how_to_connect(url: str, server: SmtpServer) -> None:
    assert SmtpServer.from_url(url) == server


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://mail", "smtp://", "smtp://h:x", "smtp://h:99999", "smtp://h/path", "smtp://h?a=b"],
)
def test_what_is_no_smtp_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be smtp|is not a URL"):
        SmtpServer.from_url(url)


def test_a_password_is_never_sent_in_plain_text_over_a_network() -> None:
    with pytest.raises(ValueError, match="plain text"):
        SmtpServer.from_url("smtp://user:secret@mail.example.com")


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(SmtpServer.from_url("smtps://u:hunter2@mail.example.com"))


def test_every_wrong_setting_is_named_and_no_value_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://u:hunter2@h/d",
        "AMQP_URL": "amqp://u:hunter2@h/",
        "SMTP_URL": "ftp://u:hunter2@h",
        "SENDER_ADDRESS": "hunter2",
        "DISPATCH_CONCURRENCY": "0",
    }.items():
        monkeypatch.setenv(f"NOTIFICATIONS_{name}", value)
    with pytest.raises(SettingsInvalid) as refused:
        Settings.load()
    words = str(refused.value)
    assert "hunter2" not in words
    assert {line.split(":")[0] for line in words.splitlines()} == {
        "NOTIFICATIONS_SMTP_URL",
        "NOTIFICATIONS_SENDER_ADDRESS",
        "NOTIFICATIONS_DISPATCH_CONCURRENCY",
    }
