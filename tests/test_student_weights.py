"""Students in every published layout become the same network; a wrong or hostile file is refused and leaves nothing."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundnet_kd import SoundNet5, load_student
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError, SoundNetKDError
from soundnet_kd.models import Preprocessing, write_student
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.students import import_student, student_place
from soundnet_kd.pretrained.torch7 import read_torch7
from tests.published import Torch7Writer, as_numpy_dict, hear, python2_npy, soundnet, torch7_network

Write = Callable[[Path, dict[str, Tensor], int], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _pytorch(path: Path, state: dict[str, Tensor], depth: int) -> None:
    torch.save(state, path)


def _pytorch_of_2018(path: Path, state: dict[str, Tensor], depth: int) -> None:
    """As PyTorch 0.3 did: no zip, no counters of batches."""
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, path, _use_new_zipfile_serialization=False)


def _numpy(path: Path, state: dict[str, Tensor], depth: int) -> None:
    with path.open("wb") as handle:
        np.save(handle, np.array(as_numpy_dict(state, depth), dtype=object), allow_pickle=True)


def _numpy_of_python2(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(python2_npy(as_numpy_dict(state, depth)))


def _torch7(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(torch7_network(state, depth))


def _torch7_of_doubles(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(torch7_network(state, depth, "Double"))


def _torch7_in_a_zip(path: Path, state: dict[str, Tensor], depth: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if depth == 5 else zipfile.ZIP_STORED) as archive:
        archive.writestr("soundnet_models_public/README", "hello")
        archive.writestr("__MACOSX/soundnet_models_public/._soundnet.t7", "icon")
        archive.writestr(f"soundnet_models_public/soundnet{depth}_final.t7", torch7_network(state, depth))


def _own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {name.replace("_objs", ".objects").replace("_scns", ".scenes"): value for name, value in state.items()}
    return {name: value[..., 0] if value.ndim == 4 else value for name, value in renamed.items()}


def _lightning(path: Path, state: dict[str, Tensor], depth: int) -> None:
    named = {f"student.{name}": value for name, value in _own_names(state).items()}
    content = {
        "state_dict": named | {"loss.weight": torch.ones(1)},
        "global_step": 3,
        "optimizer_states": [{"lr": 1.0}],
    }
    torch.save(content, path)


def _safetensors(path: Path, state: dict[str, Tensor], depth: int) -> None:
    save_file({name: value.contiguous() for name, value in state.items()}, path)


LAYOUTS: list[tuple[Write, str, str]] = [
    (_pytorch, "sound.pth", "pytorch"),
    (_pytorch_of_2018, "sound.pth", "pytorch"),
    (_numpy, "sound.npy", "numpy"),
    (_numpy_of_python2, "sound.npy", "numpy"),
    (_torch7, "sound.t7", "torch7"),
    (_torch7_of_doubles, "sound.t7", "torch7"),
    (_torch7_in_a_zip, "sound.zip", "torch7"),
    (_lightning, "step=3.ckpt", "lightning"),
    (_safetensors, "sound.safetensors", "pytorch"),
]


SOUND = torch.randn(1, 1, 220_500, generator=torch.Generator().manual_seed(1)) * 50


@lru_cache
def _expected(depth: int) -> dict[str, Tensor]:
    return hear(soundnet(depth), depth, SOUND)


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
@pytest.mark.parametrize("depth", [5, 8])
def test_every_layout_answers_as_the_published_network(
    cache: Path, tmp_path: Path, write: Write, file: str, layout: str, depth: int
) -> None:
    """Against 2-D convolutions written out in tests/published.py; 10 s, which conv8 needs."""
    write(tmp_path / file, soundnet(depth), depth)
    import_student(tmp_path / file, "mine")
    (tmp_path / file).unlink()
    student = load_student("mine")
    assert type(student).__name__ == f"SoundNet{depth}"
    assert not student.training
    assert student.preprocessing == Preprocessing()
    assert student.class_names["objects"] == ("objects 0", "objects 1", "objects 2")
    with torch.inference_mode():
        found = student(SOUND)
    for head, logits in _expected(depth).items():
        torch.testing.assert_close(found[head], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
def test_layouts_are_told_apart_by_their_content(tmp_path: Path, write: Write, file: str, layout: str) -> None:
    write(tmp_path / file, soundnet(5), 5)
    if not file.endswith(".safetensors"):
        (tmp_path / file).rename(tmp_path / "file")
        file = "file"
    assert convert(tmp_path / file).layout == layout


def test_our_own_students_keep_all_that_they_say(cache: Path, tmp_path: Path) -> None:
    asked = Preprocessing(sample_rate=16_000, amplitude=1.0, least_samples=1000)
    student = SoundNet5({"objects": ["cat", "dög"], "sounds": 2}, asked)
    write_student(student, tmp_path / "student.safetensors", {"steps": 7})
    import_student(tmp_path / "student.safetensors", "mine")
    assert load_student("mine").fingerprint() == student.fingerprint()


def test_a_checkpoint_finds_its_names_in_its_run(cache: Path, tmp_path: Path) -> None:
    student = SoundNet5({"objects": ["cat", "dog", "owl"], "scenes": ["sea", "wood"]}, Preprocessing(amplitude=1.0))
    write_student(student, tmp_path / "run" / "untrained.safetensors", {})
    checkpoint = tmp_path / "run" / "checkpoints" / "step=3.ckpt"
    checkpoint.parent.mkdir()
    _lightning(checkpoint, soundnet(5), 5)
    import_student(checkpoint, "mine")
    assert load_student("mine").class_names == student.class_names
    assert load_student("mine").preprocessing == Preprocessing(amplitude=1.0)


def test_known_numbers_of_classes_get_their_names(tmp_path: Path) -> None:
    _torch7(tmp_path / "sound.t7", soundnet(5, 1000, 401), 5)
    names = convert(tmp_path / "sound.t7").student.class_names
    assert (names["objects"][0], names["scenes"][-1]) == ("tench", "zen_garden")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (os.system, ('touch "${SOUNDNET_KD_CACHE}.executed"',))


def _hostile_pytorch(path: Path) -> None:
    torch.save({"conv1.weight": Hostile()}, path)


def _hostile_numpy(path: Path) -> None:
    with path.open("wb") as handle:
        np.save(handle, np.array({"conv1": {"weights": Hostile()}}, dtype=object), allow_pickle=True)


def _pickle(*codes: bytes) -> Callable[[Path], None]:
    """Write a .npy file whose pickle has these codes."""

    def write(path: Path) -> None:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
        path.write_bytes(stream.getvalue() + b"".join(codes) + pickle.STOP)

    return write


def _nested(path: Path) -> None:
    writer = Torch7Writer()
    content = writer.value(1)
    for _ in range(300):
        content = writer.value({1: content})
    path.write_bytes(content)


def _torch7_value(path: Path, content: bytes) -> None:
    writer = Torch7Writer()
    writer.indices = 50  # Those before are the content's own.
    path.write_bytes(writer.module("nn.Sequential", thing=content))


def _function(path: Path) -> None:
    _torch7_value(path, struct.pack("<iii", 8, 99, 4) + b"code" + struct.pack("<i", 0))


def _stretched(path: Path) -> None:
    """A tensor of 2^40 elements that are all the same one."""
    writer = Torch7Writer("Float")
    layout = struct.pack("<iqqqqq", 2, 1 << 20, 1 << 20, 0, 0, 1)
    storage = writer.storage(np.ones(1, np.float32))
    _torch7_value(path, writer.torch("torch.FloatTensor", layout + storage))


def _storage_beyond_the_file(path: Path) -> None:
    _torch7_value(path, Torch7Writer().torch("torch.FloatStorage", struct.pack("<q", 1 << 40)))


def _other_class(path: Path) -> None:
    _torch7_value(path, Torch7Writer().torch("os.Process", b""))


def _text_form(path: Path) -> None:
    path.write_bytes(b"4\n1\n3\nV 1\n13\nnn.Sequential\n")


def _changed(name: str, change: Callable[[Tensor], Tensor], write: Write = _pytorch) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        state = soundnet(5)
        write(path, state | {name: change(state[name])}, 5)

    return changed


def _without(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({key: value for key, value in soundnet(5).items() if key != name}, path)

    return write


def _traversal(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../soundnet8.t7", torch7_network(soundnet(5), 5))


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("soundnet8.t7", bytes(30_000_000))


def _bomb_for_torch(path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(5_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _circle(path: Path) -> None:
    """Modules that contain each other, and one that contains itself, by references only."""
    writer = Torch7Writer()
    inner: dict[int, bytes] = {}
    before = writer.module("nn.Sequential")
    for number in range(2000):
        inner[2000 - number] = before
        reference = struct.pack("<i", 4) + before[4:8]
        before = writer.modules("nn.Sequential", reference)
    path.write_bytes(writer.module("nn.Sequential", modules=writer.value(inner)))


def _two_networks(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("soundnet8.t7", b"")
        archive.writestr("soundnet5.t7", b"")


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _web_page(path: Path) -> None:
    path.write_text("<html><body>404</body></html>")


def _many_classes(path: Path) -> None:
    torch.save(soundnet(5) | {"conv5_objs.weight": torch.zeros(1).expand(1 << 40, 256, 16, 1)}, path)


def _described(**changed: str) -> Callable[[Path], None]:
    """Write a student.safetensors whose description is changed."""

    def write(path: Path) -> None:
        student = path.with_name("student.safetensors")
        write_student(SoundNet5({"objects": ["cat"]}), student, {})
        with safe_open(student, framework="pt") as file:
            metadata = file.metadata()
        save_file(load_file(student), path, metadata | changed)
        student.unlink()

    return write


def _named_head(head: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({name.replace("objects", head): value for name, value in _own_names(soundnet(5)).items()}, path)

    return write


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_hostile_pytorch, "not a file of tensors alone .*system"),
    (_hostile_numpy, r"wants to call (posix|nt)\.system, .* never executed"),
    (_pickle(b"cbuiltins\neval\n(S'1'\ntR"), r"wants to call builtins\.eval"),
    (_pickle(b"\x82\x01"), "has a code that no pickled array has"),
    (_pickle(b"Pname\n"), "has a code that no pickled array has"),
    (_pickle(b"}))", b"2\x86" * 100, b"Ns"), "has a code that no pickled array has"),
    (_pickle(b"})q\x00" + b"h\x00\x86q\x00h\x00" * 100 + b"Ns"), "has a tuple for a name"),
    (_pickle(b"N", pickle.LONG_BINPUT, struct.pack("<I", 0xFFFFFFF0)), "holds no dict of layers"),
    (_pickle(b"c_codecs\nencode\n(N}S'__doc__'\nS'x'\nstb"), "is broken, or cut off"),
    (_pickle(b"cnumpy\nndarray\n(I0\nt\x81"), "has a code that no pickled array has"),
    (_pickle(b"cnumpy\nndarray\n(I0\ntR"), "is not whole"),
    (_function, "holds a Lua function, which is never read"),
    (_nested, "nests its values more than 100 deep"),
    (_stretched, "reaches beyond its storage"),
    (_storage_beyond_the_file, "ends too early"),
    (_other_class, r"an object of the class 'os\.Process'"),
    (_text_form, "is Torch7's text form"),
    (
        _changed("conv2.weight", lambda tensor: tensor[:, :, 1:]),
        r"conv2\.weight as \(64, 32, 31\); SoundNet5 has \(64, 32, 32\)",
    ),
    (_changed("conv2.weight", lambda tensor: tensor[:, :, 1:], _numpy), r"conv2\.weight as \(64, 32, 31\)"),
    (_changed("conv2.weight", lambda tensor: tensor[:, :, 1:], _torch7), r"conv2\.weight as \(64, 32, 31\)"),
    (
        _changed("conv2.weight", lambda tensor: tensor.repeat(1, 1, 1, 2)),
        r"\(64, 32, 32, 2\); the last size should be 1",
    ),
    (_changed("conv3.bias", lambda tensor: tensor * float("nan")), "not finite numbers"),
    (_changed("conv3.bias", lambda tensor: tensor / 0, _torch7), "not finite numbers"),
    (_changed("conv3.bias", lambda tensor: tensor.double() * 1e300), "not finite numbers"),
    (_changed("conv3.bias", lambda tensor: tensor.long()), "as torch.int64, not as floating-point numbers"),
    (_changed("conv3.bias", lambda tensor: tensor.to_sparse()), "no plain tensor"),
    (_changed("batchnorm2.running_var", lambda tensor: -tensor), "negative variance"),
    (_without("batchnorm2.running_var"), r"lacks batchnorm2\.running_var, which SoundNet5 has"),
    (_without("conv5_objs.bias"), r"lacks conv5\.objects\.bias"),
    (_many_classes, "claims to be larger than what is stored"),
    (_described(class_names='{"objects": 1000000000000}'), "no lists of class names"),
    (_described(class_names="[]"), "does not describe its network"),
    (_described(training="[]"), "no lists of class names"),
    (_described(preprocessing='{"rate": 1}'), "does not describe its network"),
    (_described(architecture="SoundNet6"), "no student of format 1"),
    (_named_head("keys"), "has outputs that cannot be"),
    (lambda path: torch.save(soundnet(5, objects=0), path), "an output of 0 objects"),
    (lambda path: torch.save({"conv5.objects.weight": torch.ones(())}, path), "no network of SoundNet"),
    (lambda path: torch.save({"fc.weight": torch.zeros(1)}, path), "no network of SoundNet with 8 or 5 layers"),
    (lambda path: torch.save([1], path), "holds no state dict"),
    (lambda path: np.save(path.open("wb"), np.zeros(3)), "holds an array of float64"),
    (_traversal, r"holds the path '\.\./\.\./soundnet8\.t7', which leads out of the archive"),
    (_bomb, "unpacks from .* to 30000000 bytes; no network does"),
    (_bomb_for_torch, "unpacks from .* to 20000000 bytes; no network does"),
    (_circle, "has 0 convolutions and 0 batch norms"),
    (_two_networks, r"holds 2 files \*\.t7 where one should be"),
    (_nothing, "ends too early"),
    (_web_page, "it is a web page"),
]


@pytest.mark.parametrize(("write", "reason"), REFUSED)
def test_a_wrong_or_hostile_file_is_refused_and_leaves_nothing(
    cache: Path, tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "file"
    write(path)
    with pytest.raises(FormatError, match=reason) as caught:
        import_student(path, "mine")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == {path}


@pytest.mark.parametrize(("write", "file", "layout"), LAYOUTS)
def test_a_file_that_is_cut_off_anywhere_is_refused(
    cache: Path, tmp_path: Path, write: Write, file: str, layout: str
) -> None:
    path = tmp_path / file
    write(path, soundnet(5), 5)
    content = path.read_bytes()
    for length in (5, 40, 300, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError) as caught:
            import_student(path, "mine")
        assert "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == {path}


def test_a_broken_file_never_fails_in_another_way(tmp_path: Path) -> None:
    """Bytes changed at random places of two small files, neither of which is a whole network."""
    random = np.random.default_rng(0)
    writer = Torch7Writer()
    network = writer.modules("nn.Sequential", writer.module("nn.ReLU", inplace=True))
    layers = python2_npy({"conv1": {"weights": np.ones((4, 1, 1, 2), np.float32), "biases": np.ones(2, np.float32)}})
    for content in (network, layers):
        for _ in range(300):
            changed = bytearray(content)
            for place in random.integers(0, len(content), 3):
                changed[place] = random.integers(256)
            (tmp_path / "file").write_bytes(changed)
            with pytest.raises(SoundNetKDError):
                convert(tmp_path / "file")


def test_torch7_values_are_read_as_they_are() -> None:
    writer = Torch7Writer("Double")
    storage = writer.storage(np.arange(6.0))
    tensor = writer.tensor((2, 2), 2, storage)
    shared = writer.value({"x": 1})
    again = shared[:8]
    found = read_torch7(
        writer.value({1: tensor, 2.5: "text", "yes": True, "no": False, "nil": None, "a": shared, "b": again})
    )
    assert np.array_equal(found.pop(1), [[2.0, 3.0], [4.0, 5.0]])
    assert found["a"] is found["b"]
    assert found == {2.5: "text", "yes": True, "no": False, "nil": None, "a": {"x": 1.0}, "b": {"x": 1.0}}


def test_a_name_keeps_its_student(cache: Path, tmp_path: Path) -> None:
    _pytorch(tmp_path / "a.pth", soundnet(5), 5)
    _pytorch(tmp_path / "b.pth", soundnet(5, objects=4), 5)
    import_student(tmp_path / "a.pth", "mine")
    import_student(tmp_path / "a.pth", "mine")
    with pytest.raises(
        RunConflictError, match=r"mine is another student already; choose another name, or delete .*mine"
    ):
        import_student(tmp_path / "b.pth", "mine")
    assert len(load_student("mine").class_names["objects"]) == 3


@pytest.mark.parametrize("name", ["../mine", "a/b", "", ".hidden", "x" * 65, "C:mine"])
def test_a_name_that_is_a_path_is_refused(cache: Path, tmp_path: Path, name: str) -> None:
    _pytorch(tmp_path / "a.pth", soundnet(5), 5)
    with pytest.raises(SettingsError, match="cannot be a name"):
        import_student(tmp_path / "a.pth", name)


def test_wrong_names_name_the_nearest(cache: Path, tmp_path: Path) -> None:
    _pytorch(tmp_path / "a.pth", soundnet(5), 5)
    import_student(tmp_path / "a.pth", "fields")
    with pytest.raises(SettingsError, match="there is no student soundnet9; did you mean 'soundnet8'"):
        load_student("soundnet9")
    with pytest.raises(SettingsError, match=r"did you mean 'fields'\?.*or a name: soundnet8, .*, fields$"):
        load_student("feilds")
    with pytest.raises(
        FormatError, match=r"a\.pth is no student\.safetensors; `soundnet-kd weights import .*a\.pth --as NAME`"
    ):
        load_student(tmp_path / "a.pth")


def test_a_student_that_was_damaged_in_the_cache_says_how_to_get_it_again(cache: Path, tmp_path: Path) -> None:
    _pytorch(tmp_path / "a.pth", soundnet(5), 5)
    import_student(tmp_path / "a.pth", "mine")
    student_place("mine").write_bytes(b"broken")
    with pytest.raises(FormatError, match=r"delete .*mine\.safetensors, and fetch or import it again"):
        load_student("mine")
