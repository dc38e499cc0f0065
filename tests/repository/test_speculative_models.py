"""Pairs of models: from where they are kept, and what is said of those that cannot be used."""

import codecs
import json
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from multispin_env.speculative import models
from multispin_env.speculative.models import TINY, load_pair, tiny_pair
from multispin_env.speculative.prompts import Prompt, read_prompts

pytestmark = pytest.mark.live


def test_the_tiny_pair_reads_and_writes_bytes():
    pair = tiny_pair()
    text = "def f(x):\n    return 'Grüße'\n"
    tokens = pair.encode(text)
    assert len(tokens) == len(text.encode())
    assert pair.decode(tokens) == text
    assert pair.end_tokens == {256}
    assert pair.reader(pair.draft, 1).vocabulary == 257
    with pytest.raises(ValueError, match="prompt must have at least one token"):
        pair.encode("")


def test_tokenizers_that_differ_are_refused(tmp_path):
    shutil.copytree(TINY / "draft", tmp_path / "draft")
    file = tmp_path / "draft" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.add_tokens(["return"])
    tokenizer.save(str(file))
    with pytest.raises(
        ValueError, match=r"must share a tokenizer, .* has 258 tokens .* 257; 'return', .* 257 and None"
    ):
        load_pair(tmp_path / "draft", TINY / "target")


def test_a_model_that_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^draft '.*empty' must hold config.json or one GGUF file, got 0 GGUF"):
        load_pair(tmp_path / "empty", TINY / "target")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"target must be a folder, .* got the file .*notes.txt"):
        load_pair(TINY / "draft", tmp_path / "notes.txt")

    def hub(cause):
        def from_pretrained(*args, **kwargs):
            raise OSError("what the library says") from cause

        return from_pretrained

    # Neither is built as the hub's own client would, which needs a response.
    gone = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", hub(gone))
    with pytest.raises(FileNotFoundError, match=r"draft 'nobody/nothing' is no folder, .* and no model on"):
        load_pair("nobody/nothing", TINY / "target")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", hub(LocalEntryNotFoundError("not cached")))
    with pytest.raises(ConnectionError, match=r"draft 'nobody/nothing' is no folder, .* cannot be reached"):
        load_pair("nobody/nothing", TINY / "target")


def test_a_gguf_file_is_found_by_file_folder_and_package(tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"")
    wanted = {"pretrained_model_name_or_path": str(tmp_path), "gguf_file": "model.gguf"}
    assert models._locate("target", file) == wanted
    assert models._locate("target", tmp_path) == wanted

    class Carried:
        suffix = ".gguf"

        def locate(self):
            return file

    monkeypatch.setattr(metadata, "files", lambda name: [Carried()])
    assert models._locate("target", "some-package") == wanted


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "column 2: is no JSON: Expecting property name enclosed in double quotes"),
        (b'{"task": "a"}', "Prompt needs a value for: prompt"),
        (b"{}", "Prompt needs a value for: task, prompt"),
        (b"[1]", r"a prompt must be a Prompt or a dict of its fields, got \[1\]"),
        (b"null", "a prompt must be a Prompt or a dict of its fields, got None"),
        (
            b'{"task": "a", "prompt": "b", "' + 200 * b"c" + b'": 1}',
            r"no field 'c{30,}\.\.\.c+'. Its fields are: task, prompt",
        ),
        (b'{"task": "", "prompt": "b"}', "task must be a non-empty string, got ''"),
        (b'{"task": "a", "prompt": 3}', "prompt must be a non-empty string, got 3"),
        (b'{"task": "a", "prompt": NaN}', "numbers must be finite, got 'NaN'"),
        (b'{"task": "a", "prompt": ["b"]}', r"prompt must be a non-empty string, got \['b'\]"),
        (b'{"task": "a", "prompt": ' + 5000 * b"9" + b"}", "integers must have at most 20 digits"),
        (b'{"task": "a", "task": "b", "prompt": "c"}', "a key must stand once in an object, got 'task' twice"),
        (10_000 * b"[" + 10_000 * b"]", "must not be nested deeper than 50"),
        (b'{"task": "a", "prompt": "\xe9"}', "must be UTF-8, got b'.xe9'"),
        (b'{"task": "a", "prompt": "b\\ud83d"}', "strings must be text, got half of a surrogate pair"),
    ],
)
def test_a_wrong_line_of_prompts_is_named(tmp_path, line, complaint):
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'{"task": "a", "prompt": "b"}\n\n' + line + b"\n")
    with pytest.raises(ValueError, match=rf"^{file}, line 3.*{complaint}"):
        read_prompts(file)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", codecs.BOM_UTF8])
def test_a_file_without_prompts_is_refused(content, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file} must hold at least one prompt, .*, got none"):
        read_prompts(file)


def test_prompts_are_read_whatever_editor_wrote_them(tmp_path):
    file = tmp_path / "prompts.jsonl"
    # A byte order mark, Windows' line ends, a separator that is none in files, and a line of a megabyte.
    lines = ['{"task": "a", "prompt": "b\u2028c\x85"}', "", json.dumps({"prompt": 1_000_000 * "x", "task": "d"})]
    file.write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    assert read_prompts(file) == [Prompt("a", "b\u2028c\x85"), Prompt("d", 1_000_000 * "x")]


def test_importing_the_package_does_not_import_torch():
    code = (
        "import sys, multispin_env.speculative.sampling; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
