"""Variables: what is refused before a run, how text becomes a value, and what ansible gets to read."""

import json
from pathlib import Path

import pytest

from mendbook import content, variables
from mendbook.content import Option
from mendbook.errors import InvalidVariable
from mendbook.variables import Vault

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"


@pytest.fixture
def note():
    return content.procedure("write_note", NOTES)


def from_words(procedure, *words):
    return variables.check(variables.from_words(words, procedure), procedure)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("note_write_seconds=1.5", 1.5),
        ("note_write_count=-3", -3),
        ("note_write_stubborn=Yes", True),
        ("note_write_stubborn=0", False),
        ("note_write_texts=a, b,,c", ["a", "b", "c"]),
        ('note_write_texts=["a,b", "c"]', ["a,b", "c"]),
        ("note_write_texts=", []),
        ('note_write_facts={"a": {"b": 1}}', {"a": {"b": 1}}),
        ("note_write_fails=0123", "0123"),
        ("note_write_fails=a=b=c", "a=b=c"),
        ("note_write_fails=", ""),
        ("note_write_fails={{ lookup('pipe', 'id') }}", "{{ lookup('pipe', 'id') }}"),
        ("note_write_password=env:SECRET", "env:SECRET"),
        ("note_write_password=env?:SECRET", "env?:SECRET"),
        ("note_write_seconds=env:SECONDS", "env:SECONDS"),
        ("note_path=/srv/x", "/srv/x"),
        ("mend_hosts=web", "web"),
        ("ansible_user=bob", "bob"),
    ],
)
def test_text_becomes_what_the_option_takes(note, word, value):
    assert from_words(note, word) == {word.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("note_write_seconds=soon", "takes a number, not 'soon'"),
        ("note_write_seconds=nan", "takes a number"),
        ("note_write_count=1_000", "takes a whole number"),
        ("note_write_count=1.0", "takes a whole number"),
        ("note_write_count=٣", "takes a whole number"),
        ("note_write_stubborn=maybe", "takes true or false"),
        ("note_write_texts=[1,", "takes a list"),
        ("note_write_facts=a", "takes a JSON object"),
        ("note_write_facts=[1]", "takes a JSON object"),
        ("note_write_mode=quiet", "must be one of plain, loud, not 'quiet'"),
        ("note_write_second=1", "did you mean note_write_seconds"),
        ("note_pth=x", "did you mean note_path"),
        ("zzz=1", "see: mendbook show write_note"),
        ("note_write_seconds", "-e takes name=value or @file"),
        ("=x", "-e takes name=value"),
        ("note_write_password=hunter22", "env:NAME or note_write_password=file:/path"),
        ("note_write_fails=mongodb://u:hunter22@db/", "is a secret"),
        ("@/no/such/file", "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(note, word, said):
    with pytest.raises(InvalidVariable) as caught:
        from_words(note, word)
    assert said in caught.value.msg


def test_the_message_about_a_secret_does_not_hold_it(note):
    for word in ("note_write_password=hunter22", "note_write_fails=mongodb://u:hunter22@db/"):
        with pytest.raises(InvalidVariable) as caught:
            from_words(note, word)
        assert "hunter22" not in caught.value.msg


def test_a_uri_without_a_password_is_no_secret(note):
    assert from_words(note, "note_write_fails=mongodb://db:27017/shop") == {
        "note_write_fails": "mongodb://db:27017/shop"
    }


def test_later_words_win_over_earlier_ones_and_files(note, tmp_path):
    (tmp_path / "v.yml").write_text("note_write_seconds: 1\nnote_write_count: 1\n")
    values = from_words(note, f"@{tmp_path}/v.yml", "note_write_count=2")
    assert values == {"note_write_seconds": 1, "note_write_count": 2}


def test_paths_become_absolute_and_references_to_files_too(note, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    values = from_words(note, "note_write_path=notes/a.txt", "note_write_password=file:key")
    assert values == {"note_write_path": f"{tmp_path}/notes/a.txt", "note_write_password": f"file:{tmp_path}/key"}
    assert from_words(note, "note_write_path=~/a") == {"note_write_path": "/home/someone/a"}
    # a variable that the defaults take their value from is of no declared type
    assert from_words(note, "note_path=file:key") == {"note_path": f"file:{tmp_path}/key"}


def test_paths_inside_lists_and_dicts_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {"type": "dict", "options": {"files": {"type": "list", "elements": "path"}, "name": {}}}
    assert variables._absolute(spec, {"files": ["a", "/b"], "name": "a"}) == {
        "files": [f"{tmp_path}/a", "/b"],
        "name": "a",
    }


def test_a_file_keeps_moments_vault_values_and_text_as_they_were_written(note, tmp_path):
    path = tmp_path / "v.yml"
    path.write_text(
        "note_write_fails: 2026-03-01T00:00:00Z\nnote_write_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n"
        'note_write_texts: [!unsafe "{{ x }}"]\n'
    )
    values = from_words(note, f"@{path}")
    assert values["note_write_fails"] == "2026-03-01T00:00:00Z"
    assert isinstance(values["note_write_password"], Vault)
    assert values["note_write_texts"] == ["{{ x }}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "must hold names and values"),
        ("a: [\n", "line"),
        ("note_write_fails: !!python/object/apply:os.system [id]\n", "not YAML"),
        ("$ANSIBLE_VAULT;1.1;AES256\n61\n", "encrypted as a whole"),
        ("1: a\n", "must hold names and values"),
    ],
)
def test_a_file_that_is_not_variables_is_refused(note, tmp_path, text, said):
    (tmp_path / "v.yml").write_text(text)
    with pytest.raises(InvalidVariable) as caught:
        from_words(note, f"@{tmp_path}/v.yml")
    assert said in caught.value.msg


def test_a_broken_file_is_not_quoted(note, tmp_path):
    (tmp_path / "v.yml").write_text("note_write_password: 'hunter22\n")
    with pytest.raises(InvalidVariable) as caught:
        from_words(note, f"@{tmp_path}/v.yml")
    assert "hunter22" not in caught.value.msg


def test_plain_secrets_of_a_program_are_served_and_not_written(note, tmp_path):
    values = {"note_write_password": "hunter22", "note_write_fails": "mongodb://u:hunter22@db/", "note_write_count": 1}
    served = variables.withdraw_secrets(values, note)
    assert sorted(served.values()) == ["hunter22", "mongodb://u:hunter22@db/"]
    assert [values[name].removeprefix("env:") for name in ("note_write_fails", "note_write_password")] == sorted(served)
    variables.write(values, tmp_path / "out.json")
    assert "hunter22" not in (tmp_path / "out.json").read_text()


def test_an_option_marked_no_log_is_a_secret():
    assert variables.is_secret("anything", "x", Option("anything", "r", {"no_log": True}))
    assert not variables.is_secret("anything", "env:X", Option("anything", "r", {"no_log": True}))


def test_what_a_role_declares_open_is_no_secret_for_its_name_but_for_its_password():
    option = Option("mongo_undo_token", "mongo_undo", {"no_log": False})
    assert not variables.is_secret("mongo_undo_token", "6aeaf752", option)
    assert variables.is_secret("mongo_undo_token", "mongodb://u:p@h/", option)
    assert variables.is_secret("mongo_undo_token", "6aeaf752", Option("mongo_undo_token", "mongo_undo", {}))


def test_the_token_that_a_plan_prints_can_be_typed():
    assert from_words(content.procedure("undo_restore_mongo"), "mongo_undo_token=6aeaf752") == {
        "mongo_undo_token": "6aeaf752"
    }


def test_every_string_is_written_so_that_ansible_never_renders_it(tmp_path):
    path = tmp_path / "v.json"
    variables.write({"a": "{{ x }}", "b": [1, "0123", None, True, 1.5], "c": {"d": "e"}, "f": Path("/g")}, path)
    assert json.loads(path.read_text()) == {
        "a": {"__ansible_unsafe": "{{ x }}"},
        "b": [1, {"__ansible_unsafe": "0123"}, None, True, 1.5],
        "c": {"d": {"__ansible_unsafe": "e"}},
        "f": {"__ansible_unsafe": "/g"},
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_vault_text_is_passed_on_as_vault(tmp_path):
    variables.write({"a": Vault("$ANSIBLE_VAULT;1.1;AES256\n61")}, tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text()) == {"a": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n61"}}


@pytest.mark.parametrize("value", [{"__ansible_vault": "x"}, {1: 2}, {1, 2}, object(), float("nan"), b"x"])
def test_values_that_are_not_plain_data_are_refused(tmp_path, value):
    with pytest.raises(InvalidVariable):
        variables.write({"a": value}, tmp_path / "v.json")


def test_a_file_that_exists_is_never_written_over(tmp_path):
    (tmp_path / "v.json").write_text("")
    with pytest.raises(FileExistsError):
        variables.write({}, tmp_path / "v.json")
