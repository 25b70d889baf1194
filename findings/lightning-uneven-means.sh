#!/usr/bin/env bash
# Lightning 2.6.6: a mean that is logged over several processes is wrong where they do not have equally many examples.
#
# `self.log(…, batch_size=n, sync_dist=True)` divides the mean sum over the processes by the mean number of examples, which
# is a whole number and rounded down: of 1, 2, 3, 4, 5 on two processes it is 15/2 over 2, not 5/2.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "lightning==2.6.6" "torch==2.14.1"
cd "$folder"
cat > mean.py <<'PYTHON'
import lightning
import torch
from torch.utils.data import DataLoader


class Mean(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def validation_step(self, batch, batch_index):
        self.log("mean", batch.mean(), batch_size=len(batch), sync_dist=True)

    def val_dataloader(self):
        return DataLoader(torch.arange(1.0, 6.0)[self.trainer.global_rank :: self.trainer.world_size])


if __name__ == "__main__":
    for devices in (1, 2):
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=devices,
            strategy="ddp_spawn" if devices > 1 else "auto",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        (figures,) = trainer.validate(Mean(), verbose=False)
        print(f"{devices} processes: the mean of 1, 2, 3, 4, 5 is {figures['mean']}")
PYTHON
"$folder/venv/bin/python" mean.py > seen 2> log
cat seen
diff seen - <<'EXPECTED'
1 processes: the mean of 1, 2, 3, 4, 5 is 3.0
2 processes: the mean of 1, 2, 3, 4, 5 is 3.75
EXPECTED
