"""Lightning's training loop, which leaves the process as it found it."""

import signal
from pathlib import Path
from threading import current_thread, main_thread

import lightning


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    data: lightning.LightningDataModule,
    start: Path | None,
) -> None:
    """Train, from a checkpoint on if there is one.

    `LastCheckpoints` listens for signals meanwhile; afterwards they do again what they did before.

    Raises
    ------
    KeyboardInterrupt
        If the training was told to stop.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into this.
        raise KeyboardInterrupt from error
    finally:
        if current_thread() is main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
