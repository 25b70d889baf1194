"""
Many machines
=============

Three jobs share the sounds of a data set. They know nothing of each other but the folder that they write to; one is
killed; and what comes out are the bytes that one job alone would have written.

In a SLURM array a job is

.. code-block:: sh

    soundnet-kd extract sounds/ --out shared/features.h5 --shard $SLURM_ARRAY_TASK_ID/64

Here the machines are processes of this one.
"""

import hashlib
import re
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt

COMMAND = ["soundnet-kd", "extract", "runs/quickstart/world/sounds.csv", "--student", "runs/quickstart/student"]
COMMAND += ["--layers", "conv5", "pool5", "--batch_size", "4"]


def job(out, *more):
    """Run a job to its end, and return its closing line."""
    done = subprocess.run([*COMMAND, "--out", out, *more], capture_output=True, text=True, check=True)
    return done.stdout.strip()


# %%
# Three jobs
# ----------
# Each takes the shards that are its own first, and leaves what it has as a file of its own in ``features.h5.parts``.

Path("runs/shared").mkdir(exist_ok=True)
told = [job("runs/shared/features.h5", "--shard", f"{number}/3") for number in (1, 2)]
print("\n".join(told))

# %%
# The third is killed while it works.

third = subprocess.Popen([*COMMAND, "--out", "runs/shared/features.h5", "--shard", "3/3"], stderr=subprocess.DEVNULL)
try:
    third.wait(timeout=4)
except subprocess.TimeoutExpired:
    third.kill()
    print("killed")
third.wait()
print(*sorted(path.name for path in Path("runs/shared").glob("features.h5*")))

# %%
# The last command
# ----------------
# Without ``--shard`` the command does what nobody has done, and joins all. (``soundnet-kd join
# runs/shared/features.h5`` only joins, and names the jobs whose shards are missing.)

print(job("runs/shared/features.h5"))

# %%
# The same as one job
# -------------------

print(job("runs/alone.h5"))
for file in ("runs/shared/features.h5", "runs/alone.h5"):
    print(hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16], file)

# %%
# Who heard how many of the 200 sounds:

heard = [int(re.search(r"\((\d+) files\)", line)[1]) for line in told]
figure, axis = plt.subplots(figsize=(7, 1.8), layout="constrained")
axis.barh(["job 1", "job 2", "job 3 and the last command"], [*heard, 200 - sum(heard)])
axis.invert_yaxis()
axis.set(xlabel="sounds")

# %%
# ``teach`` takes ``--shard`` as ``extract`` does. :doc:`Many machines </many_machines>` has Ray, Kubernetes and
# SLURM.
