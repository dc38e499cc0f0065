"""What comes with a model is read, not run: nor is anybody at a terminal asked whether it may be."""

import builtins
import json
import pickle
import shutil
import sys
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from multispin_env.speculative.models import TINY, load_pair

pytestmark = pytest.mark.live


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, file):
        self._file = file

    def __reduce__(self):
        return open, (str(self._file), "w")


@pytest.fixture
def ran(tmp_path):
    """A file that must not come into being."""
    file = tmp_path / "ran"
    yield file
    assert not file.exists()


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(TINY / "draft", tmp_path / "model")


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """Somebody who says yes to everything."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def asked(prompt=""):
        raise AssertionError(f"asked: {prompt}")

    monkeypatch.setattr(builtins, "input", asked)


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


CODE = """
open({ran!r}, "w").close()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Config(LlamaConfig):
    model_type = "mine"
class Model(LlamaForCausalLM):
    config_class = Config
class Tokens(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("role", ["draft", "target"])
def test_code_of_a_model_is_not_run_and_the_model_refused(role, folder, ran):
    (folder / "code.py").write_text(CODE.format(ran=str(ran)), encoding="utf-8")
    maps = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    change(folder / "config.json", auto_map=maps, model_type="mine", architectures=["Model"])
    with pytest.raises(ValueError, match=rf"{role} .*model' cannot be loaded: it needs code of its own \(auto_map"):
        load_pair(**{"draft": TINY / "draft", "target": TINY / "target", role: folder})


def test_code_of_a_tokenizer_is_not_run(folder, ran):
    (folder / "code.py").write_text(CODE.format(ran=str(ran)), encoding="utf-8")
    change(
        folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "code.Tokens"]}, tokenizer_class="Tokens"
    )
    with pytest.raises(ValueError, match="cannot be loaded: it needs code of its own"):
        load_pair(folder, TINY / "target")


def test_code_beside_a_model_that_does_without_it_is_not_run(folder, ran):
    (folder / "code.py").write_text(CODE.format(ran=str(ran)), encoding="utf-8")
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "code.Model"})
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE.format(ran=str(ran)), encoding="utf-8")
    load_pair(folder, TINY / "target")


@pytest.mark.parametrize(
    "wish",
    [
        {"attn_implementation": "nobody/kernel"},
        {"_attn_implementation": "nobody/kernel"},
        {"attn_implementation": {"": "nobody/kernel"}},
        {"_attn_implementation_internal": "nobody/kernel"},
        {"experts_implementation": "nobody/kernel", "_experts_implementation": "nobody/kernel"},
        {"use_kernels": True, "kernel_config": {"RMSNorm": "nobody/kernel:Norm"}},
    ],
)
def test_a_kernel_that_a_configuration_asks_for_is_not_fetched(wish, folder):
    change(folder / "config.json", **wish)
    network = load_pair(folder, TINY / "target").draft
    assert network.config._attn_implementation in ("sdpa", "eager")


def test_pickled_weights_are_read_as_tensors_or_not_at_all(folder, ran):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    load_pair(folder, TINY / "target")
    torch.save(weights | {"payload": Payload(ran)}, folder / "pytorch_model.bin")
    with pytest.raises((ValueError, OSError), match=r"draft .*model' cannot be loaded"):
        load_pair(folder, TINY / "target")
    # As PyTorch wrote them before it had zip files.
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises((ValueError, OSError), match=r"draft .*model' cannot be loaded"):
        load_pair(folder, TINY / "target")


@pytest.mark.parametrize("kind", ["pickle", "zip", "torch"])
def test_a_gguf_file_that_is_none_is_not_unpickled(kind, tmp_path, ran):
    file = tmp_path / "model.gguf"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Payload(ran)))
    elif kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload(ran)))
    else:
        torch.save({"payload": Payload(ran)}, file)
    with pytest.raises((ValueError, OSError), match=r"draft .* cannot be loaded"):
        load_pair(file, TINY / "target")


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.system('touch %s') }}",
        "{%% for c in ''.__class__.__mro__[1].__subclasses__() %%}{{ c.__init__.__globals__['os'].system('touch %s') }}"
        "{%% endfor %%}",
        "{{ self.__init__.__globals__.__builtins__.open('%s', 'w') }}",
    ],
)
def test_a_chat_template_reaches_nothing(template, folder, ran):
    target = shutil.copytree(TINY / "target", folder.parent / "target")
    (target / "chat_template.jinja").write_text(template % ran, encoding="utf-8")
    pair = load_pair(folder, target)
    with pytest.raises(ValueError, match=r"the chat template of .*target.* cannot be used: "):
        pair.encode("hello")


def test_a_chat_template_of_a_tokenizer_is_used(folder):
    (folder / "chat_template.jinja").write_text("<{{ messages[0].content }}>", encoding="utf-8")
    pair = load_pair(folder, folder)
    assert pair.decode(pair.encode("a")) == "<a>"
