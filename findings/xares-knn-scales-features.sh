#!/usr/bin/env bash
# X-ARES 0.1.3: its kNN scales each feature over the known clips to length 1, not each clip, so that what it calls
# similarity is no cosine: clips with large features are the nearest neighbours of all others.
#
# `KNN` turns the known clips to (features, clips) and then normalises along the second axis, which is that of the clips; the
# clips that are asked for are normalised one by one. Here a clip that is among the known ones is asked for again. Of the time
# averages of SoundNet's pool5 on ESC-50's first four classes (160 clips) X-ARES's kNN makes 42.5 %, cosine neighbours 88.8 %.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-30: the lines at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "xares==0.1.3" "torch==2.14.1" "scikit-learn==1.9.1"
cat > "$folder/show.py" <<'PYTHON'
import torch
from sklearn.neighbors import KNeighborsClassifier
from xares.trainer import KNN

known = torch.tensor([[1.0, 0.2], [10.0, 10.0], [0.1, 0.9]])
labels = torch.tensor([0, 1, 2])
cosines = KNeighborsClassifier(1, metric="cosine").fit(known, labels)
print("each known clip is asked for:", labels.tolist())
print("nearest by cosine:", cosines.predict(known).tolist())
print("nearest by X-ARES:", KNN(known, labels, nb_knn=1, num_classes=3)(known).argmax(dim=1).tolist())
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen" 2>/dev/null
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
each known clip is asked for: [0, 1, 2]
nearest by cosine: [0, 1, 2]
nearest by X-ARES: [1, 1, 1]
EXPECTED
