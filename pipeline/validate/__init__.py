"""Stops bad data before it reaches training.

features  one row per picture, read in chunks from the memory-mapped arrays
tables    the small frames the other expectations look at: columns, classes, splits
suite     the expectations, made from the limits in params.yaml
check     runs them with Great Expectations; what each found
drift     how far data lies from other data; profile.json
report    validation.json and validation.html
data_docs Great Expectations' own pages, on request
stage     read → check → write
"""
