"""The demonstration world on the disk."""

from pathlib import Path

from soundnet_kd.commands.demo_world import demo_world


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_same_seed_makes_the_same_world(tmp_path: Path) -> None:
    """Every video, picture, sound and table, whichever process makes it; both codecs among them."""
    made = []
    for name, seed, workers in (("one", 0, 1), ("two", 0, 2), ("other", 1, 2)):
        demo_world(tmp_path / name, videos=5, frames_per_event=1, sounds_per_event=1, seed=seed, workers=workers)
        made.append(files_of(tmp_path / name))
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert len([name for name in made[0] if name.endswith(".mp4")]) == 5
