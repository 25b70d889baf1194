"""The files of settings beside a training: by what it was made, and with which versions.

`run.json` of distillation, `finetune.json` and `train.json` hold the settings, in groups as the command has them;
`versions`; and that of distillation `targets`, the identity of what was learned: `clips`, how many, and `teachers`, by
name with `network` and `weights`. A distillation that started from another student has `init`, as it was named,
`init_sha256`, its fingerprint, and `kept_heads`; `freeze`, `kept_learning_rate` and `keep_statistics` where these were
given. Where it had several objectives, `objectives`, the weight of each, stands in the place of `objective`, and where
features were compared there are `projection` (with the layer) and `contrast`; `weight_decay` and `average` where these
were given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.storage import read_json

DISTILL_FILE, FINETUNE_FILE, TRAIN_FILE = "run.json", "finetune.json", "train.json"


@dataclass(frozen=True)
class TrainingSettings:
    """What made a training.

    Attributes
    ----------
    settings : mapping
        In groups; without the targets and the versions.
    versions : mapping from library to version
    clips : int or None
        How many clips of video there were; None for a training without teachers.
    teachers : mapping from name to mapping
        What identifies each teacher; empty for a training without teachers.
    """

    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    clips: int | None
    teachers: Mapping[str, Mapping[str, Any]]


def read_training_settings(folder: str | Path) -> TrainingSettings | None:
    """Read the settings of the training in a folder; None if it wrote none.

    Raises
    ------
    FormatError
        If the file is not JSON.
    """
    files = (Path(folder) / name for name in (DISTILL_FILE, FINETUNE_FILE, TRAIN_FILE))
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    content = dict(read_json(file))
    versions, targets = content.pop("versions", {}), content.pop("targets", {})
    return TrainingSettings(content, versions, targets.get("clips"), targets.get("teachers", {}))
