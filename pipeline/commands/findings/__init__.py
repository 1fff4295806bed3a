"""What `doctor` looks for: each `examine(registry)` says what it looked at and what is wrong, and writes nothing.

Stages and history explain each other, so `moves` asks both `standings` and `records`.
"""
