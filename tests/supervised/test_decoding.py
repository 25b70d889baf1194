"""Sounds are decoded once, and what could not be is remembered."""

from pathlib import Path

import numpy as np

from soundnet_kd.data import read_manifest
from soundnet_kd.media import RawAudioDecoder, write_audio
from soundnet_kd.supervised.sounds import decode_sounds
from tests.media_files import sine


def test_what_is_decoded_stays(tmp_path: Path) -> None:
    tone = sine(440, 0.2, 8000)
    for name in ("a/one.wav", "a/two.wav", "b/one.wav"):
        write_audio(tmp_path / "sounds" / name, tone, 8000)
    (tmp_path / "sounds" / "b" / "broken.wav").write_bytes(b"nothing")
    manifest, store = read_manifest(tmp_path / "sounds"), RawAudioDecoder(8000, "first")
    sounds, failures = decode_sounds(manifest, store, tmp_path / "kept")
    assert list(failures) == ["b/broken.wav"]
    assert list(sounds) == ["a/one.wav", "a/two.wav", "b/one.wav"]
    for sound in sounds.values():
        np.testing.assert_allclose(sound.read(), tone, atol=2**-15)

    # A run that was killed before its last sound decodes only that one.
    (tmp_path / "kept" / "failures.json").unlink()
    sounds["b/one.wav"].file.unlink()
    for name in ("a/one.wav", "a/two.wav"):
        (tmp_path / "sounds" / name).unlink()
    assert decode_sounds(manifest, store, tmp_path / "kept") == (sounds, failures)
    assert len(sounds["b/one.wav"]) == len(tone)
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".f32", ".json"}
