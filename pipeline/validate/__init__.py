"""Stop bad data before it reaches training.

stage            read → check → write
near_duplicates  pairs of images that are the same but for a shift, brightness, contrast or compression
label_issues     images whose label is probably incorrect
drift            how far images are from those of another split or data set; profile.json
tables           what the expectations look at: images, pairs, classes, splits, drift
suite            the expectations, made from the limits in params.yaml
check            runs them with Great Expectations; its own pages, on request
report           validation.json and validation.html
"""
