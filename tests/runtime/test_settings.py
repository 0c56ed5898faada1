"""Settings: file, environment over it, and errors that say where and how to mend."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ingest import log
from qunce.process import write_private
from qunce.settings import PARTITIONS, Settings, SettingsError, load, partitions, to_toml


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("QUNCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def problem_of(path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path)
    return str(caught.value)


def test_nothing_set_is_fine(tmp_path: Path) -> None:
    assert load().data_dir == tmp_path / "home" / "qunce"


def test_environment_wins_over_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qunce.toml").write_text('[api]\nport = 9000\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("QUNCE_API__PORT", "9001")
    assert (load().api.port, load().api.host) == (9001, "127.0.0.2")


def test_a_broken_rule_names_file_key_rule_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[api]\nport = 99999\n")
    text = problem_of(file)
    assert text.startswith(f"{file}: api.port: ")
    assert "65535" in text
    assert "QUNCE_API__PORT" in text


def test_a_variable_that_is_wrong_is_named_as_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUNCE_API__PORT", "many")
    assert problem_of().startswith("QUNCE_API__PORT: api.port: ")


def test_unknown_keys_and_variables_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qunce.toml").write_text("[api]\nprot = 1\n")
    assert "api.prot" in problem_of()
    (tmp_path / "qunce.toml").unlink()
    monkeypatch.setenv("QUNCE_DATABSE__DSN", "postgresql://x")
    assert problem_of().startswith("QUNCE_DATABSE__DSN: ")


def test_toml_errors_have_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "qunce.toml").write_text("[api]\nport = \n")
    assert "line 2" in problem_of()


def test_secrets_are_not_in_errors_nor_in_the_repr(tmp_path: Path) -> None:
    (tmp_path / "qunce.toml").write_text('[database]\ndsn = "mysql://u:hush@h/d"\n')
    text = problem_of()
    assert "database.dsn" in text
    assert "hush" not in text
    (tmp_path / "qunce.toml").write_text('[database]\ndsn = "postgresql://u:hush@h/d"\n')
    assert "hush" not in repr(load())


def test_what_was_written_for_children_reads_back_the_same(tmp_path: Path) -> None:
    original = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "database": {"dsn": 'postgresql://u:p"w\\@h/d'},
            "dashboard": {"password": "eight characters", "secure_cookie": True},
        }
    )
    file = tmp_path / "out.toml"
    write_private(file, to_toml(original))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load(file) == original


def test_a_writer_owns_the_partitions_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PARTITIONS == log.PARTITIONS
    assert partitions(load().writer.partitions) == tuple(range(PARTITIONS))
    monkeypatch.setenv("QUNCE_WRITER__PARTITIONS", "5-7, 0,2")
    assert partitions(load().writer.partitions) == (0, 2, 5, 6, 7)


@pytest.mark.parametrize("wrong", ["", "8", "3-1", "a", "0-", "-1", "0;1"])
def test_partitions_that_are_none_are_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUNCE_WRITER__PARTITIONS", wrong)
    assert problem_of().startswith("QUNCE_WRITER__PARTITIONS: writer.partitions: ")
