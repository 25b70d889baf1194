#!/usr/bin/env bash
# ray 2.60.0: what it tells of a lost node goes to the program's standard output, whatever `ray.init` is told of logs.
#
# With `log_to_driver=False` and `logging_level="ERROR"` nothing that workers print comes to the program that started
# them. Where a node is lost, paragraphs of Ray's own stand in that program's standard output all the same, between the
# lines of its own answer, since a thread that listens for errors prints them there.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0"
cd "$folder"
cat > program.py <<'PYTHON'
import time

import ray
from ray.cluster_utils import Cluster

small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
checks = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
cluster = Cluster(initialize_head=True, head_node_args={**small, "_system_config": checks})
other = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
cluster.remove_node(other, allow_graceful=False)
while sum(node["Alive"] for node in ray.nodes()) > 1:
    time.sleep(0.2)
time.sleep(3)
print("the answer")
ray.shutdown()
cluster.shutdown()
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=a-secret-of-this-script-for-these-few-seconds
"$folder/venv/bin/python" program.py > printed 2> errors || { cat errors; exit 1; }
grep -c "the answer" printed
grep -o "has been marked dead" printed | sort -u | tee seen
diff seen - <<'EXPECTED'
has been marked dead
EXPECTED
echo "RAY_DEDUP_LOGS_SKIP_REGEX=. keeps it away:"
RAY_DEDUP_LOGS_SKIP_REGEX=. "$folder/venv/bin/python" program.py > printed 2> errors || { cat errors; exit 1; }
diff printed - <<'EXPECTED'
the answer
EXPECTED
