"""Genres of films from tiles of their soundtracks: a network for each genre, or one for all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from soundnet_kd.errors import TooShortError
from soundnet_kd.models.classifiers.sound_classifier import FRONT_END, SoundClassifier, dense
from soundnet_kd.models.front_ends.chain import Step
from soundnet_kd.models.network import OUTPUT
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.models.receptive_field import ReceptiveField

FRAMES = 100
STEP_SAMPLES = 2_205
"""A tenth of a second at 22 050 Hz: the 100 frames of a tile are about 10 s."""
TILE_SAMPLES = (FRAMES - 1) * STEP_SAMPLES
"""Frames stand at 0, 0.1, … 9.9 s."""
TILE = ClipPreprocessing(sample_rate=22_050, least_samples=TILE_SAMPLES)
MFCC_TILE: tuple[Step, ...] = (
    {"name": "MFCC", "coefficients": 40, "window_samples": 4096, "step_samples": STEP_SAMPLES},
    {"name": "Standardisation"},
)
"""The first coefficient is in the hundreds where the last is near 1, so each is standardised."""
CONVOLUTIONS = ((32, 5, 0.1), (64, 4, 0.2), (128, 2, 0.3), (256, 2, 0.4))
"""Filters, size, and the dropout after the pooling."""
HIDDEN = 50


class FilmGenres(SoundClassifier):
    """Four convolutions over a tile of 40 MFCCs x 100 frames and two dense layers.

    With a single class it is one of the ensemble's binary networks, with several the multi-label network: the sigmoid
    of each logit is the probability of its tag.

    Layers: `front_end`, `conv1` (after ReLU), `pool1` … `pool4`, `dense1`, `dense2`, `answer`.

    Parameters
    ----------
    class_names : sequence of str
        The tags.
    preprocessing : ClipPreprocessing, optional
        A tile at 22 050 Hz if not given.
    front_end : sequence of mapping
        Gives a picture.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing | None = None,
        front_end: Sequence[Step] = MFCC_TILE,
    ) -> None:
        super().__init__(class_names, preprocessing or TILE, front_end)
        channels = 1
        for number, (filters, kernel, dropout) in enumerate(CONVOLUTIONS, start=1):
            self.add_stage(f"conv{number}", nn.Sequential(nn.Conv2d(channels, filters, kernel), nn.ReLU()), filters)
            self.add_stage(f"pool{number}", nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout)), filters)
            channels = filters
        self.add_stage("dense1", nn.Sequential(nn.Flatten(), *dense(self.flat_size(), HIDDEN)), HIDDEN)
        self.add_stage("dense2", nn.Sequential(nn.Dropout(0.5), *dense(HIDDEN, HIDDEN)), HIDDEN)
        self.add_answer(HIDDEN)


class FilmGenresRecurrent(SoundClassifier):
    """A track taken tile by tile: the network of a tile, and a gated recurrent unit over what it makes of each.

    Layers: `tiles` (the tile network's last dense layer, a step for each tile), `recurrent` (a step sees its own tile
    and, through its state, those before), `last` (its last step), `answer`.

    Parameters
    ----------
    class_names : sequence of str
        The tags.
    preprocessing : ClipPreprocessing, optional
        Tracks of at least one tile at 22 050 Hz if not given. `least_samples` is the length of a tile; what a track
        has beyond a whole number of these is not used.
    front_end : sequence of mapping
        Front end of a tile; its output is a picture.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing | None = None,
        front_end: Sequence[Step] = MFCC_TILE,
    ) -> None:
        asked = preprocessing or replace(TILE, exact=False)
        tile = FilmGenres(("unused",), replace(asked, exact=True), front_end)
        super().__init__(class_names, asked, front_end=None)
        self._settings[FRONT_END] = tile.settings[FRONT_END]
        self.tile_samples = asked.least_samples
        self.add_stage("tiles", TileNetwork(tile), HIDDEN)
        self.add_stage("recurrent", Recurrent(HIDDEN), HIDDEN)
        self.add_stage("last", LastStep(), HIDDEN)
        self.add_answer(HIDDEN)

    def fit_front_end(self, waveforms: Iterable[Tensor]) -> None:
        """Set the data set's mean and standard deviation where the front end uses them, from tracks of any length."""
        tiles = self.get_submodule("tiles")
        assert isinstance(tiles, TileNetwork)
        tiles.network.fit_front_end(tiles.cut(waveform) for waveform in waveforms)


class TileNetwork(nn.Module):
    """What a network makes of each tile of a track, up to its last layer but one.

    Parameters
    ----------
    network : FilmGenres
        Taken over; its answer is cut off.
    """

    def __init__(self, network: FilmGenres) -> None:
        super().__init__()
        delattr(network, OUTPUT)
        self.network = network
        self.layer = network.layers[-2]
        self.samples = network.preprocessing.least_samples

    def cut(self, tracks: Tensor) -> Tensor:
        """Cut tracks (batch, 1, samples) into tiles (batch * tiles, 1, samples); an incomplete last one is left out.

        Raises
        ------
        TooShortError
            If there is not one whole tile.
        """
        if tracks.shape[-1] < self.samples:
            raise TooShortError(
                f"{tracks.shape[-1]} samples are no whole tile of {self.samples}; "
                "give each track to the preprocessing first"
            )
        return tracks.unfold(-1, self.samples, self.samples).reshape(-1, 1, self.samples)

    def forward(self, tracks: Tensor) -> Tensor:
        """Return (batch, channels, tiles) for tracks (batch, 1, samples)."""
        hidden: Tensor = self.network(self.cut(tracks), (self.layer,))[self.layer]
        return hidden.reshape(len(tracks), -1, hidden.shape[1]).transpose(1, 2)

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of a step: its tile."""
        return field.after(self.samples, self.samples)


class Recurrent(nn.Module):
    """A gated recurrent unit, from (batch, channels, steps) to the same.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unit = nn.GRU(channels, channels, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """Go through the steps in order."""
        states: Tensor = self.unit(hidden.transpose(1, 2))[0]
        return states.transpose(1, 2)

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of a step itself; through the state it depends on all before it too."""
        return field


class LastStep(nn.Module):
    """The last step of (batch, channels, steps)."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, channels)."""
        return hidden[:, :, -1]

    def field_after(self, field: ReceptiveField) -> None:
        """Return None: through the state of the steps before it, it depends on everything."""
        return
