"""How many processes work beside the main one, where nobody says how many.

To start a process takes a second or two, in which the main one gets a good deal done itself; and what computes on the
CPU leaves the cores little else to do.
"""

import joblib

SOUNDS_WORTH_A_WORKER = 64
"""While a process starts, the main one decodes more sounds than that."""
VIDEOS_WORTH_A_WORKER = 8
"""It decodes a few videos itself meanwhile."""
MAX_READERS = 8
"""More processes that read for one device would only wait for it."""


def sound_decoders(sounds: int) -> int:
    """Return how many processes decode sounds: one for each core, if there are enough sounds for each."""
    return int(min(joblib.cpu_count(), sounds // SOUNDS_WORTH_A_WORKER))


def video_decoders(videos: int) -> int:
    """Return how many processes decode videos: one for each core, or none where there are too few videos."""
    cores = int(joblib.cpu_count())
    return cores if videos >= VIDEOS_WORTH_A_WORKER * cores else 0


def batch_readers(device_type: str, devices: int = 1) -> int:
    """Return how many processes read batches for each device: none on a CPU, which the network needs itself.

    Beside a GPU it is one for each core but one, at most 8; `devices` of a machine share its cores.
    """
    return 0 if device_type == "cpu" else min(MAX_READERS, max(1, joblib.cpu_count() // devices - 1))
