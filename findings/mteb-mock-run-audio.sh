#!/usr/bin/env bash
# mteb 2.26.24: without torchcodec, which mteb alone does not install, `mteb.mock_run`, the check of a new model, skips every
# task of sounds and says that all have passed: also of a model that raises whenever it is called.
#
# `all_passed` counts tasks whose error names a missing dependency as passed, which its docstring says; nothing says that none
# was run but the report by modality.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-30: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "mteb==2.26.24" "torch==2.14.1"
cat > "$folder/show.py" <<'PYTHON'
import mteb
from mteb.models import ModelMeta


class Model:
    mteb_model_meta = ModelMeta.create_empty({"name": "nobody/nothing", "revision": "1", "modalities": ["audio"]})

    def encode(self, inputs, **kwargs):
        raise RuntimeError("this model knows nothing")

    similarity = similarity_pairwise = encode


found = mteb.mock_run(Model())
tried = [status for _, status in found.items() if status is not None]
print("tasks of sounds:", len(tried), "all passed:", found.all_passed)
print([row for row in found.modality_summary() if row[1] == "audio"])
PYTHON
(cd "$folder" && HF_HUB_OFFLINE=1 "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
tasks of sounds: 7 all passed: True
[('skipped', 'audio', '')]
EXPECTED
