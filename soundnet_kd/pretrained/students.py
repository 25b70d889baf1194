"""Students from files."""

from pathlib import Path

from soundnet_kd.errors import SettingsError
from soundnet_kd.models import STUDENT_FILE, SoundNet, read_student


def load_student(path: str | Path) -> SoundNet:
    """Load a student with its preprocessing and class names, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        A `student.safetensors`, or the run folder of `soundnet-kd distill` that holds one.

    Raises
    ------
    SettingsError
        If there is no such file.
    FormatError
        If the file is not a student.
    """
    path = Path(path)
    if path.is_dir():
        path = path / STUDENT_FILE
    if not path.is_file():
        raise SettingsError(f"there is no student {path}; give a student.safetensors that `soundnet-kd distill` wrote")
    return read_student(path)
