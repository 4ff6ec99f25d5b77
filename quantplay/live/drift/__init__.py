"""Is live traffic still what the package was calibrated and measured for? Looked at once a day.

features.py     one conversation's first request, or one calibration sample, as a few small numbers
languages.py    scripts and stop words
fingerprint.py  counts of many; two add up
divergence.py   Jensen-Shannon, and how large it gets while nothing changes
usual.py        the days that are taken as usual, with their limits
domain.py       a classifier, where a share of the prompts is stored
verdict.py      one day against them, and the calibration set
words.py        the same in words
finding.py      what was found, as a record

On the product database:
calibration.py  the fingerprint of a package's calibration set
look.py         look_for_drift(store, endpoint, day) -> DriftFinding

The gateway counts (../gateway/watch.py).
"""
