"""Settings: from the environment, from the files it names, or given by hand; all faults at once."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings, SettingsInvalid


class Settings(EnvironmentSettings):
    """Of a service that is not there."""

    model_config = SettingsConfigDict(env_prefix="EXAMPLE_")

    password: SecretStr
    port: Annotated[int, Field(ge=1)] = 80
    label: str = "none"


@pytest.fixture
def password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `EXAMPLE_PASSWORD_FILE` names."""
    file = tmp_path / "password"
    file.write_text('{"looks": "like JSON"}\n')
    monkeypatch.setenv("EXAMPLE_PASSWORD_FILE", str(file))
    return file


def faults() -> dict[str, str]:
    """What is wrong, by variable."""
    with pytest.raises(SettingsInvalid) as refused:
        Settings.load()
    return dict(line.split(": ", 1) for line in str(refused.value).splitlines())


@pytest.mark.usefixtures("password_file")
def test_a_secret_is_the_content_of_the_file_that_is_named() -> None:
    assert Settings.load().password.get_secret_value() == '{"looks": "like JSON"}'


def test_a_value_in_the_environment_comes_before_a_file(password_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password_file.unlink()
    monkeypatch.setenv("EXAMPLE_PASSWORD", "from the environment")
    assert Settings.load().password.get_secret_value() == "from the environment"


@pytest.mark.usefixtures("password_file")
def test_an_empty_name_of_a_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_PORT_FILE", "")
    assert Settings.load().port == 80


def test_what_is_wrong_with_files_and_values_is_told_together(
    password_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password_file.unlink()
    (tmp_path / "label").write_bytes(b"hunter2\xff")
    monkeypatch.setenv("EXAMPLE_LABEL_FILE", str(tmp_path / "label"))
    monkeypatch.setenv("EXAMPLE_PORT", "hunter2")
    assert faults() == {
        "EXAMPLE_PASSWORD": "the file of EXAMPLE_PASSWORD_FILE cannot be read (No such file or directory)",
        "EXAMPLE_LABEL": "the file of EXAMPLE_LABEL_FILE cannot be read (it is not UTF-8)",
        "EXAMPLE_PORT": "Input should be a valid integer, unable to parse string as an integer",
    }


def test_what_is_missing_is_named_by_its_variable() -> None:
    assert faults() == {"EXAMPLE_PASSWORD": "Field required"}


@pytest.mark.usefixtures("password_file")
def test_settings_made_by_hand_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_PORT", "81")
    assert Settings(password=SecretStr("x")).port == 80
    with pytest.raises(ValidationError, match="password\n  Field required"):
        Settings(port=82)


def test_what_no_setting_is_called_is_refused_by_hand_and_ignored_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXAMPLE_PASSWORD", "x")
    monkeypatch.setenv("EXAMPLE_OTHER", "of another process")
    assert Settings.load().label == "none"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings.model_validate({"password": "x", "other": "y"})
