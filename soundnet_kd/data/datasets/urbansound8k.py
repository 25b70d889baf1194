"""UrbanSound8K (Salamon et al., ACM Multimedia 2014): what its classes, tables and files are called."""

import re

TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")
"""Places of the table in the folder of the data set."""
FILE_NAME = re.compile(r"(?P<source>\d+)-(?P<target>\d)-\d+-\d+")
"""Name of a file without its ending; `target` is an index into `URBANSOUND8K_CLASSES`."""

URBANSOUND8K_CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
