"""How well networks tell the tags of tracks, several to each: by the order in which they put a track's tags."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.storage import versions, write_csv
from soundnet_kd.supervised.config import ExperimentConfig
from soundnet_kd.supervised.evaluation import describe_run
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.sounds import clips_for
from soundnet_kd.transfer.results import PREDICTIONS_FILE, write_results


@dataclass(frozen=True, eq=False)
class TrackScores:
    """What the networks of a seed say of each tested track.

    Attributes
    ----------
    seed : int
    ids : tuple of str
    scores : (tracks, tags) float64
        The mean probability over a track's tiles.
    truth : (tracks, tags) bool
    common : (tags,) float64
        Share of the tracks that were learned from which have the tag: what one would say without listening.
    """

    seed: int
    ids: tuple[str, ...]
    scores: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.bool_] = field(repr=False)
    common: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True)
class TagScores:
    """Measures over the tested tracks, each 0 … 1 but `coverage`.

    Attributes
    ----------
    seed : int
    top : int
        How many first tags count as found.
    validation_loss : float or None
        Mean over the networks, of the weights that were kept; None of given ones.
    in_top : float
        Share of a track's true tags that are among its first ones (of at most that many), mean over the tracks.
    all_in_top : float
        Share of the tracks all of whose true tags are.
    ranking_loss : float
        Share of the pairs of a true tag and another one that are in the wrong order.
    mean_average_precision : float
        Mean over the tags of the average precision of the tracks in the order of their scores.
    coverage : float
        How far down one has to go for all true tags, on average.
    """

    seed: int
    top: int
    validation_loss: float | None
    in_top: float
    all_in_top: float
    ranking_loss: float
    mean_average_precision: float
    coverage: float
    without_listening: Mapping[str, float]

    def __str__(self) -> str:
        blind = self.without_listening
        return (
            f"  seed {self.seed}: {self.in_top:.1%} of the true tags in the first {self.top} (without listening "
            f"{blind['in_top']:.1%}), ranking loss {self.ranking_loss:.3f} ({blind['ranking_loss']:.3f}), mean average "
            f"precision {self.mean_average_precision:.3f} ({blind['mean_average_precision']:.3f})"
        ) + ("" if self.validation_loss is None else f", validation loss {self.validation_loss:.3f}")


def track_scores(run: ExperimentRun, seed: int) -> TrackScores:
    """Gather what the networks of a seed say."""
    data = run.sets[seed]
    mine = [tested for tested in run.results if tested.trial.seed == seed]
    ids = mine[0].ids
    scores = np.zeros((len(ids), len(run.class_names)))
    for tested in mine:
        scores[:, list(tested.trial.outputs)] = tested.clips
    row_of = {clip.id: row for row, clip in enumerate(data.manifest.clips)}
    targets = data.targets
    clips = data.manifest.clips
    learned = [place for place in clips_for(data, mine[0].trial.fold, "train") if clips[place].id not in run.failures]
    return TrackScores(
        seed, ids, scores, targets[[row_of[name] for name in ids]] > 0, targets[learned].mean(axis=0, dtype=np.float64)
    )


def tag_scores(run: ExperimentRun, tracks: TrackScores, top: int) -> TagScores:
    """Measure a seed's networks, and what would be said without listening."""
    top = min(top, len(run.class_names))
    losses = [each.at_kept_step("validation/loss") for each in run.results if each.trial.seed == tracks.seed]
    loss = float(np.mean(losses)) if run.config.given is None else None
    blind = measures(np.tile(tracks.common, (len(tracks.ids), 1)), tracks.truth, top)
    found = measures(tracks.scores, tracks.truth, top)
    return TagScores(tracks.seed, top, loss, **found, without_listening=blind)


def measures(scores: NDArray[np.float64], truth: NDArray[np.bool_], top: int) -> dict[str, float]:
    """Measure the order in which scores put tags.

    Parameters
    ----------
    scores : (tracks, tags) float
    truth : (tracks, tags) bool
        At least one of each track.
    top : int

    Returns
    -------
    dict
        The measures of `TagScores`; tags that no track or all have take no part in the mean average precision.
    """
    from sklearn.metrics import average_precision_score, coverage_error, label_ranking_loss

    first = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    found = np.take_along_axis(truth, first, axis=1).sum(axis=1)
    count = truth.sum(axis=1)
    mixed = truth.any(axis=0) & ~truth.all(axis=0)
    precision = average_precision_score(truth[:, mixed], scores[:, mixed]) if mixed.any() else np.nan
    return {
        "in_top": float((found / np.minimum(count, top)).mean()),
        "all_in_top": float((found == count).mean()),
        "ranking_loss": float(label_ranking_loss(truth, scores)),
        "mean_average_precision": float(precision),
        "coverage": float(coverage_error(truth, scores)),
    }


def tag_overlap(run: ExperimentRun) -> NDArray[np.int64]:
    """Count the tracks that have each two tags, (tags, tags); the diagonal counts those that have the one."""
    targets = next(iter(run.sets.values())).targets.astype(np.int64)
    return np.asarray(targets.T @ targets)


def write_tag_evaluation(
    run: ExperimentRun, config: ExperimentConfig, tracks: Sequence[TrackScores], found: Sequence[TagScores]
) -> None:
    """Write `results.json`, `predictions.csv` (a row per track and seed), `tags.csv` and `tag_overlap.csv`."""
    names, out, top = run.class_names, run.out, found[0].top
    write_results(
        out,
        "tags",
        {
            "source": {
                "recipe": config.about.strip(),
                "identity": config.identity,
                **describe_run(run),
                "versions": versions(),
            },
            "tags": names,
            "protocol": config.protocol,
            "results": [{"layer": config.network, **asdict(each)} for each in found],
        },
    )
    write_csv(
        out / PREDICTIONS_FILE,
        ("seed", "id", "tags", f"first {top}", *names),
        (
            (
                each.seed,
                name,
                ";".join(tag for tag, has in zip(names, each.truth[row], strict=True) if has),
                ";".join(names[place] for place in np.argsort(-each.scores[row], kind="stable")[:top]),
                *(f"{score:.6f}" for score in each.scores[row]),
            )
            for each in tracks
            for row, name in enumerate(each.ids)
        ),
    )
    write_csv(
        out / "tags.csv",
        ("seed", "tag", "share of learned", "tested", "average precision", "mean score with", "mean score without"),
        (row for each in tracks for row in _tag_rows(each, names)),
    )
    overlap = tag_overlap(run)
    write_csv(
        out / "tag_overlap.csv",
        ("tag", *names),
        ((name, *counts) for name, counts in zip(names, overlap.tolist(), strict=True)),
    )


def _tag_rows(tracks: TrackScores, names: Sequence[str]) -> list[list[Any]]:
    from sklearn.metrics import average_precision_score

    rows: list[list[Any]] = []
    for place, name in enumerate(names):
        has, scores = tracks.truth[:, place], tracks.scores[:, place]
        figures = [
            average_precision_score(has, scores) if has.any() else None,
            scores[has].mean() if has.any() else None,
            scores[~has].mean() if not has.all() else None,
        ]
        told = ("" if figure is None else f"{figure:.4f}" for figure in figures)
        rows.append([tracks.seed, name, f"{tracks.common[place]:.4f}", int(has.sum()), *told])
    return rows
