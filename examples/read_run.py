"""Reads a run database with pandas: the captions, the labels, and the captions and pairs to check first.

pip install pandas
python examples/read_run.py run.db
"""

import sqlite3
import sys

import pandas as pd

connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
captions = pd.read_sql("select id, start_seconds, end_seconds, start_confidence, end_confidence from caption_extents", connection)
pairs = pd.read_sql("select * from pair_results", connection)

print(captions.to_string(index=False))
print("\nlabels\n" + pairs["forward_predicted_label"].value_counts().to_string())

captions["confidence"] = captions[["start_confidence", "end_confidence"]].min(axis=1)
print("\nleast certain captions\n" + captions.nsmallest(3, "confidence").to_string(index=False))

conflicts = pairs[(pairs["forward_confidence"] < 0.6) | (pairs["backward_confidence"] < 0.6)]
print(f"\n{len(conflicts)} of {len(pairs)} pairs below a confidence of 0.6")
