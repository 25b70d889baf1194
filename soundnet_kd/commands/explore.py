"""The command `explore`: what a data set of short labelled sounds holds, before any network has heard it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.dataset.anomalies import Anomalies, find_anomalies
from soundnet_kd.analysis.dataset.figures import (
    draw_counts,
    draw_lengths,
    draw_mean_spectra,
    draw_mean_spectrograms,
    draw_violins,
)
from soundnet_kd.analysis.dataset.measures import CLIPPED_FRACTION, WINDOW_SECONDS, SoundMeasures, measure_sounds
from soundnet_kd.analysis.maps.interactive import write_interactive_space, write_plotly
from soundnet_kd.data import read_manifest
from soundnet_kd.data.checks import announce
from soundnet_kd.data.sources.folders import BACKGROUND_NOISE
from soundnet_kd.data.voice_activity import VOICE_FILE, VoiceActivity, write_spans
from soundnet_kd.errors import MediaError, SettingsError, counted, none_readable
from soundnet_kd.storage import FAILURES_FILE, ensure_same_settings, make_folder, versions, write_csv, write_failures


@dataclass(frozen=True, eq=False)
class ExploreResult:
    """What a data set holds, and where it is written."""

    out: Path
    measures: SoundMeasures | None = field(repr=False)
    anomalies: Anomalies | None = field(repr=False)
    skipped: int
    noise: int
    reading: str = ""
    """How the data set is read, if nothing but this was asked for."""

    def __str__(self) -> str:
        if self.measures is None or self.anomalies is None:
            return self.reading
        measures, strangest = self.measures, np.argsort(-self.anomalies.distance)[:3]
        named = ", ".join(measures.clips[place].id for place in strangest)
        odd = int((measures.clipped > CLIPPED_FRACTION).sum()), int((measures.peaks == 0).sum())
        skipped = f", {counted(self.skipped, 'sound')} skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        if measures.spans is not None:
            skipped = f", {list(measures.spans.values()).count(None)} without a voice stay whole{skipped}"
        noise = f", {self.noise} recordings of background noise left out" if self.noise else ""
        return (
            f"wrote {self.out}: {len(measures.clips)} sounds of {len(measures.class_names)} classes, "
            f"{measures.seconds.min():.2f} to {measures.seconds.max():.2f} s, {odd[0]} clipped, {odd[1]} silent; "
            f"the strangest: {named}{noise}{skipped}"
        )


def explore(
    sounds: Path | str,
    out: Path | str,
    sample_rate: int = 16_000,
    seconds: float = 1.0,
    frequency: float = 1000.0,
    components: int = 3,
    voice_activity: VoiceActivity | None = None,
    seed: int = 0,
    dry_run: bool = False,
) -> ExploreResult:
    """Describe a data set of short labelled sounds: counts, lengths, mean spectra and spectrograms, unusual sounds.

    A sound is unusual if it is far from the mean in the first principal components of the standardised magnitude of the
    Fourier transform, or unlikely under a Gaussian mixture of its class. A page shows three components.

    Parameters
    ----------
    sounds : str or Path
        A folder with a sub-folder for each class (such as Speech Commands, whose _background_noise_ is left out), a
        folder in ESC-50's layout, or a CSV file with columns path and label.
    out : str or Path
        Folder for tables, figures and the page.
    sample_rate : int
        Rate that the sounds are resampled to, in Hz.
    seconds : float
        Length of each sound for its spectra: longer sounds are cut, shorter ones padded with silence.
    frequency : float
        Frequency in Hz whose magnitude is drawn for each class.
    components : int
        Number of principal components in which unusual sounds are found; the page shows the first three.
    voice_activity : VoiceActivity, optional
        Cut off what comes before and after the voice, such as --voice_activity.aggressiveness 2 (0 to 3);
        --voice_activity.margin_seconds are kept around it. voice.csv lists what is kept. [default: nothing is cut]
    seed : int
        Seed of the Gaussian mixtures.
    dry_run : bool
        Only print how the data set is read; nothing is decoded or written.

    Raises
    ------
    SettingsError
        If there are no labels, or a setting is out of its range.
    MediaError
        If not a single sound could be read.
    """
    sounds = Path(sounds)
    out = Path(out)
    if not 0 < frequency < sample_rate / 2 or seconds < 2 * WINDOW_SECONDS or components < 3:
        raise SettingsError(
            f"frequency is {frequency:g} Hz, seconds {seconds:g} and components {components}; give a frequency below "
            f"{sample_rate / 2:g} Hz, at least {2 * WINDOW_SECONDS} s, and at least three components"
        )
    manifest = read_manifest(sounds)
    reading = announce(sounds, manifest, dry_run=dry_run)
    noise = manifest.skipped.get(BACKGROUND_NOISE, ())
    if not manifest.class_names:
        raise SettingsError(f"none of the sounds of {sounds} has a label; give a folder with a sub-folder per class")
    if dry_run:
        return ExploreResult(out, None, None, 0, len(noise), reading)
    settings: dict[str, object] = {
        "sample_rate": sample_rate,
        "seconds": seconds,
        "frequency": frequency,
        "components": components,
    }
    if voice_activity is not None:
        settings["voice_activity"] = asdict(voice_activity)
    make_folder(out)
    ensure_same_settings(
        out / "explore.json",
        {"sounds": manifest.identity, "settings": {**settings, "seed": seed}, "versions": versions()},
    )
    measures, failures = measure_sounds(manifest, sample_rate, seconds, voice_activity)
    write_failures(out / FAILURES_FILE, failures)
    if measures.spans is not None:
        write_spans(out / VOICE_FILE, measures.spans, sample_rate)
    if not measures.clips:
        raise none_readable(f"{len(manifest)} labelled sounds", failures, out / FAILURES_FILE)
    if len(measures.clips) <= components:
        raise MediaError(
            f"{len(measures.clips)} of {len(manifest)} labelled sounds could be read, too few for {components} "
            f"components; see {out / FAILURES_FILE}"
        )
    anomalies = find_anomalies(measures.spectra, measures.labels, components, seed)
    _write_tables(measures, anomalies, out)
    names, labels = measures.class_names, measures.labels
    draw_counts(labels, names, out / "counts.png")
    draw_lengths(measures.seconds, labels, names, out / "lengths.png")
    draw_mean_spectra(measures.spectra, measures.hertz, labels, names, out / "mean_fft.png")
    draw_mean_spectrograms(measures.spectrograms, seconds, sample_rate, names, out / "mean_spectrograms.png")
    band = int(np.argmin(np.abs(measures.hertz - frequency)))
    draw_violins(measures.spectra[:, band], labels, names, frequency, out / "violins.png")
    write_plotly(out)
    write_interactive_space(
        anomalies.points[:, :3],
        labels,
        [clip.id for clip in measures.clips],
        names,
        [f"component {number}" for number in (1, 2, 3)],
        "Sounds by the principal components of their standardised spectra",
        f"{anomalies.explained:.0%} of the variance in {components} components; points far from all others are unusual",
        out / "anomalies.html",
    )
    return ExploreResult(out, measures, anomalies, len(failures), len(noise))


def _write_tables(measures: SoundMeasures, anomalies: Anomalies, out: Path) -> None:
    labels, names = measures.labels, measures.class_names
    write_csv(
        out / "classes.csv",
        ("class", "sounds", "shortest", "mean seconds", "longest", "clipped", "silent"),
        (_class_row(name, labels == label, measures) for label, name in enumerate(names)),
    )
    order: Sequence[int] = np.argsort(-anomalies.distance).tolist()
    write_csv(
        out / "anomalies.csv",
        ("id", "class", "distance", "log likelihood", "likeliest class", "seconds", "peak", "clipped share", *"xyz"),
        (
            (
                measures.clips[place].id,
                names[labels[place]],
                f"{anomalies.distance[place]:.4f}",
                f"{anomalies.log_likelihood[place]:.4f}",
                names[anomalies.likeliest[place]],
                f"{measures.seconds[place]:.4f}",
                f"{measures.peaks[place]:.4f}",
                f"{measures.clipped[place]:.6f}",
                *(f"{value:.4f}" for value in anomalies.points[place, :3]),
            )
            for place in order
        ),
    )


def _class_row(name: str, mine: NDArray[np.bool_], measures: SoundMeasures) -> list[object]:
    seconds = measures.seconds[mine]
    lengths = [f"{value:.4f}" for value in (seconds.min(), seconds.mean(), seconds.max())] if len(seconds) else [""] * 3
    odd = (measures.clipped[mine] > CLIPPED_FRACTION).sum(), (measures.peaks[mine] == 0).sum()
    return [name, int(mine.sum()), *lengths, *map(int, odd)]
