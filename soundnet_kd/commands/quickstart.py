"""The command `quickstart`: the whole route once, by the recipe of that name."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundnet_kd.cli.steps import RecipeResult, run_steps
from soundnet_kd.config.recipes import read_recipe

log = logging.getLogger(__name__)


def quickstart(
    out: Path | str = Path("runs/quickstart"),
    videos: Path | str | None = None,
    objects: str | None = None,
    scenes: str | None = None,
    sounds: Path | str | None = None,
    seed: int = 0,
) -> RecipeResult:
    """Go the whole route once, from videos to a table of what a distilled student hears better than an untrained one.

    Without options it makes a small demonstration world of videos, trains two small image networks on labelled frames
    of it as teachers, distils a student from the videos (it never sees a label), and tries the student's layers on
    sounds of the world that it has not heard. It takes two to five minutes on two cores, and works offline. The world
    is a demonstration: its figures say that the route works, not how well it works on real sound.

    Parameters
    ----------
    out : str or Path
        Folder to write to.
    videos : str or Path, optional
        Your own videos in place of the world's. The world's teachers know nothing of real pictures: give --objects or
        --scenes too, if weights are at hand.
    objects : str, optional
        A torchvision network as object teacher in place of the world's, such as resnet18:IMAGENET1K_V1 (fetched once),
        or NETWORK:FILE with ImageNet's classes.
    scenes : str, optional
        The same for the scene teacher.
    sounds : str or Path, optional
        Labelled sounds to try the student on in place of the world's: a folder in ESC-50's layout, a folder with a
        sub-folder for each class, or a CSV file with columns path, label and fold.
    seed : int
        Seed of the world, the initial weights and the shuffling; the same seed gives the same run on the same machine.
    """
    out = Path(out)
    videos = None if videos is None else Path(videos)
    sounds = None if sounds is None else Path(sounds)
    given = {"videos": videos, "objects": objects, "scenes": scenes, "sounds": sounds}
    values: dict[str, Any] = {name: str(value) for name, value in given.items() if value is not None}
    own_teachers = objects is not None or scenes is not None
    if videos is not None and not own_teachers:
        log.warning(
            "The demonstration world's teachers know nothing of real pictures, so what they say of yours means little; "
            "add --objects resnet18:IMAGENET1K_V1 for labels that mean something."
        )
    if own_teachers:
        values |= {"objects": objects, "scenes": scenes, "teacher_weights": None}
    recipe = read_recipe("quickstart")
    unused = {"demo-teacher"} if own_teachers else set()
    if videos is not None:
        values["videos_made"] = 0
        unused |= {"demo-world"} if own_teachers and sounds is not None else set()
    else:
        log.info("This is a demonstration on a made-up world of sprites and synthetic sounds.")
    needed = tuple(step for step in recipe.steps if step[0] not in unused)
    return run_steps(replace(recipe, steps=needed), {**values, "out": str(out), "seed": seed})
