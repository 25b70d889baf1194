"""Schedules of learning rate and momentum by hand, and settings that contradict each other."""

import pytest

from soundnet_kd.errors import SettingsError
from soundnet_kd.training.optimization import TrainingConfig

FILM = TrainingConfig(
    epochs=1000, batch_size=1200, learning_rate=0.01, final_learning_rate=0.0001, momentum=0.9, final_momentum=0.999,
    optimizer="sgd", nesterov=True, schedule="linear", loss="squared_error",
)  # fmt: skip


def test_the_schedules_of_the_film_genres() -> None:
    """From 0.01 to 0.0001 and from 0.9 to 0.999 in 1000 epochs, epoch by epoch."""
    first, middle, last = (FILM.at(step, 3000, 3) for step in (2, 1500, 2999))
    assert (first["lr"], first["momentum"]) == (0.01, 0.9)
    assert middle["lr"] == pytest.approx(0.01 - 0.0099 * 500 / 999)
    assert middle["momentum"] == pytest.approx(0.9 + 0.099 * 500 / 999)
    assert last["lr"] == pytest.approx(0.0001)
    assert last["momentum"] == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adam", "momentum": 0.9}, "momentum is sgd's, not adam's"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov needs a momentum"),
        ({"final_learning_rate": 0.1}, "are for schedule linear, not constant"),
        ({"patience": 0}, "patience is 0; it has to be above 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
    ],
)
def test_settings_that_contradict_each_other(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingConfig(epochs=1, batch_size=1, learning_rate=0.1, **change)  # type: ignore[arg-type]
