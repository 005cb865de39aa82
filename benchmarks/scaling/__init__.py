"""How cost grows with size: ``python -m benchmarks.scaling``.

growth.py    one server: waiting, active and delayed tasks, up to a million of each
fleet.py     processes, partitions on a cluster, sleeping tasks in one process
fit.py       which curve the points lie on
model.py     how many masters and workers some load needs, and whether it predicts what was seen
page.py      docs/scaling, from the JSON that a run leaves
"""
